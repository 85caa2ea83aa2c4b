//! A process, ready to be become: the container's own and those that `exec` adds.

use std::ffi::CString;

use oci::runtime::{CpuAffinity, IoPriority, Process, Rlimit, Scheduler as SpecScheduler, User};
use oci::{Context, Error, Result};
use rustix::process::Resource;
use sys::process::Scheduler;

use super::list;
use crate::capabilities;
use crate::labels::Labels;

/// Everything that the child changes about itself before it becomes the program.
#[derive(Debug)]
pub(crate) struct ProcessPlan {
    pub(crate) args: Vec<CString>,
    pub(crate) env: Vec<CString>,
    /// Whether `HOME` must be looked up in the container's `/etc/passwd`.
    pub(crate) needs_home: bool,
    pub(crate) cwd: CString,
    /// Whether a missing working directory is made (for the container's own process), as runc does.
    pub(crate) make_cwd: bool,
    pub(crate) user: User,
    pub(crate) capabilities: capabilities::Sets,
    pub(crate) rlimits: Vec<PlannedRlimit>,
    pub(crate) no_new_privileges: bool,
    pub(crate) oom_score_adj: Option<i32>,
    pub(crate) scheduler: Option<Scheduler>,
    /// Whether the container's cgroup has processors of its own, which excludes some policies.
    pub(crate) confined: bool,
    pub(crate) io_priority: Option<(u16, u16)>,
    /// For a process that `exec` adds.
    pub(crate) affinity: Affinity,
    pub(crate) labels: Labels,
    pub(crate) console_size: Option<(u16, u16)>,
}

/// Processors as bits, the lowest first.
#[derive(Debug, Default)]
pub(crate) struct Affinity {
    /// Of the runtime, before the process exists.
    pub(crate) initial: Option<Vec<u64>>,
    /// Once the process is in the container's cgroup.
    pub(crate) last: Option<Vec<u64>>,
}

/// Resource, its name in the specification, soft and hard limit (`u64::MAX` is unlimited).
pub(crate) type PlannedRlimit = (Resource, String, u64, u64);

const RLIMITS: [(&str, Resource); 16] = [
    ("RLIMIT_CPU", Resource::Cpu),
    ("RLIMIT_FSIZE", Resource::Fsize),
    ("RLIMIT_DATA", Resource::Data),
    ("RLIMIT_STACK", Resource::Stack),
    ("RLIMIT_CORE", Resource::Core),
    ("RLIMIT_RSS", Resource::Rss),
    ("RLIMIT_NPROC", Resource::Nproc),
    ("RLIMIT_NOFILE", Resource::Nofile),
    ("RLIMIT_MEMLOCK", Resource::Memlock),
    ("RLIMIT_AS", Resource::As),
    ("RLIMIT_LOCKS", Resource::Locks),
    ("RLIMIT_SIGPENDING", Resource::Sigpending),
    ("RLIMIT_MSGQUEUE", Resource::Msgqueue),
    ("RLIMIT_NICE", Resource::Nice),
    ("RLIMIT_RTPRIO", Resource::Rtprio),
    ("RLIMIT_RTTIME", Resource::Rttime),
];

fn c_string(what: &str, text: &str) -> Result<CString> {
    CString::new(text).map_err(|_| Error::invalid(format!("{what}: contains a zero byte")))
}

impl ProcessPlan {
    /// Checks a process and prepares it.
    pub(crate) fn from_spec(process: &Process) -> Result<Self> {
        if process.args.is_empty() {
            return Err(Error::invalid("process.args: args must not be empty"));
        }
        if process.cwd.is_empty() {
            return Err(Error::invalid("process.cwd: Cwd property must not be empty"));
        }
        if !process.cwd.starts_with('/') {
            return Err(Error::invalid(format!("process.cwd: {:?}: Cwd must be an absolute path", process.cwd)));
        }
        check_ids(&process.user)?;
        if let Some(umask) = process.user.umask.filter(|u| *u > 0o777) {
            return Err(Error::invalid(format!("process.user.umask: {umask:#o} is more than 0777")));
        }
        if let Some(score) = process.oom_score_adj.filter(|s| !(-1000..=1000).contains(s)) {
            return Err(Error::invalid(format!("process.oomScoreAdj: {score} is not between -1000 and 1000")));
        }
        if let Some(size) = process.console_size.as_ref().filter(|s| s.height.max(s.width) > u32::from(u16::MAX)) {
            return Err(Error::invalid(format!(
                "process.consoleSize: {} by {} is more than {} in one direction",
                size.height,
                size.width,
                u16::MAX
            )));
        }
        let env = environment(&process.env)?;
        let size = process.console_size.as_ref();
        Ok(Self {
            args: process.args.iter().map(|a| c_string("process.args", a)).collect::<Result<_>>()?,
            needs_home: !env.iter().any(|e| e.len() > 5 && e.starts_with("HOME=")),
            env: env.into_iter().map(|e| c_string("process.env", e)).collect::<Result<_>>()?,
            cwd: c_string("process.cwd", &process.cwd)?,
            make_cwd: false,
            user: process.user.clone(),
            // Absent is none at all, as under runc: rights are given, not left.
            capabilities: process.capabilities.as_ref().map(capabilities::Sets::from_spec).unwrap_or_default(),
            rlimits: rlimits(&process.rlimits)?,
            no_new_privileges: process.no_new_privileges,
            oom_score_adj: process.oom_score_adj,
            scheduler: process.scheduler.as_ref().map(scheduler).transpose()?,
            confined: false,
            io_priority: process.io_priority.as_ref().map(io_priority).transpose()?,
            affinity: process.exec_cpu_affinity.as_ref().map(affinity).transpose()?.unwrap_or_default(),
            labels: Labels::from_spec(process)?,
            console_size: size.map(|s| (s.height as u16, s.width as u16)),
        })
    }
}

/// The highest number is no id: to the kernel it means "as it is", and the process would stay root.
fn check_ids(user: &User) -> Result<()> {
    let ids = [("uid", user.uid), ("gid", user.gid)];
    let groups = user.additional_gids.iter().map(|gid| ("additionalGids", *gid));
    match ids.into_iter().chain(groups).find(|(_, id)| *id == u32::MAX) {
        Some((name, id)) => Err(Error::invalid(format!(
            "process.user.{name}: unable to setup user: {id} is no id; the highest is {}",
            u32::MAX - 1
        ))),
        None => Ok(()),
    }
}

/// The last of several values of one name is what counts, and all that the program sees.
fn environment(entries: &[String]) -> Result<Vec<&str>> {
    let mut seen = std::collections::BTreeSet::new();
    let mut kept = Vec::with_capacity(entries.len());
    for (index, entry) in entries.iter().enumerate().rev() {
        let wrong =
            |why: String| Err(Error::invalid(format!("process.env[{index}]: invalid environment variable{why}")));
        let Some((name, _)) = entry.split_once('=') else {
            return wrong(format!(" {entry:?}: missing '='"));
        };
        if name.is_empty() {
            return wrong(format!(" {entry:?}: name cannot be empty"));
        }
        if entry.contains('\0') {
            return wrong(format!(" {name:?}: contains nul byte (\\x00)"));
        }
        if seen.insert(name) {
            kept.push(entry.as_str());
        }
    }
    kept.reverse();
    Ok(kept)
}

fn rlimits(spec: &[Rlimit]) -> Result<Vec<PlannedRlimit>> {
    let mut planned: Vec<PlannedRlimit> = Vec::with_capacity(spec.len());
    for (index, Rlimit { kind, hard, soft }) in spec.iter().enumerate() {
        let wrong = |what: String| Err(Error::invalid(format!("process.rlimits[{index}].{what}")));
        let Some((_, resource)) = RLIMITS.iter().find(|(name, _)| name == kind) else {
            let known = RLIMITS.map(|(name, _)| name).join(", ");
            return wrong(format!("type: wrong rlimit value: {kind}; known are {known}"));
        };
        if soft > hard {
            return wrong(format!("soft: {kind}: the soft limit {soft} exceeds the hard limit {hard}"));
        }
        if planned.iter().any(|(_, name, ..)| name == kind) {
            return wrong(format!("type: {kind} is given twice"));
        }
        planned.push((*resource, kind.clone(), *soft, *hard));
    }
    Ok(planned)
}

fn io_priority(spec: &IoPriority) -> Result<(u16, u16)> {
    let class = match spec.class.as_str() {
        "IOPRIO_CLASS_RT" => 1,
        "IOPRIO_CLASS_BE" => 2,
        "IOPRIO_CLASS_IDLE" => 3,
        other => {
            return Err(Error::invalid(format!(
                "process.ioPriority.class: invalid ioPriority.Class: {other:?}; known are IOPRIO_CLASS_RT, \
                 IOPRIO_CLASS_BE, IOPRIO_CLASS_IDLE"
            )));
        }
    };
    match u16::try_from(spec.priority) {
        Ok(level @ 0..=7) => Ok((class, level)),
        _ => Err(Error::invalid(format!(
            "process.ioPriority.priority: invalid ioPriority.Priority: {} is not between 0 and 7",
            spec.priority
        ))),
    }
}

fn affinity(spec: &CpuAffinity) -> Result<Affinity> {
    let read = |name: &str, text: &Option<String>| {
        let text = text.as_deref().unwrap_or_default();
        list::parse(text).context(|| format!("process.execCPUAffinity.{name}: bad CPU affinity {text:?}"))
    };
    Ok(Affinity { initial: read("initial", &spec.initial)?, last: read("final", &spec.last)? })
}

/// What the kernel would refuse with one word for everything, told apart in crun's words.
fn check_deadline(spec: &SpecScheduler) -> Result<()> {
    const LEAST: u64 = 1 << 10;
    const MOST: u64 = i64::MAX as u64;
    let wrong =
        |what: String| Err(Error::invalid(format!("process.scheduler: sched_setattr: `SCHED_DEADLINE` {what}")));
    let Some(runtime) = spec.runtime else { return wrong("requires `runtime`".into()) };
    let Some(deadline) = spec.deadline else { return wrong("requires `deadline`".into()) };
    if runtime == 0 {
        return wrong("runtime must be greater than 0".into());
    }
    if !(LEAST..=MOST).contains(&runtime) {
        return wrong(format!("runtime ({runtime}) must be between {LEAST} and {MOST}"));
    }
    if runtime > deadline {
        return wrong(format!("runtime ({runtime}) must be <= deadline ({deadline})"));
    }
    match spec.period.filter(|p| *p != 0) {
        Some(period) if deadline > period => wrong(format!("deadline ({deadline}) must be <= period ({period})")),
        _ => Ok(()),
    }
}

const SCHEDULER_FLAGS: [(&str, u64); 7] = [
    ("SCHED_FLAG_RESET_ON_FORK", 0x01),
    ("SCHED_FLAG_RECLAIM", 0x02),
    ("SCHED_FLAG_DL_OVERRUN", 0x04),
    ("SCHED_FLAG_KEEP_POLICY", 0x08),
    ("SCHED_FLAG_KEEP_PARAMS", 0x10),
    ("SCHED_FLAG_UTIL_CLAMP_MIN", 0x20),
    ("SCHED_FLAG_UTIL_CLAMP_MAX", 0x40),
];

fn scheduler(spec: &SpecScheduler) -> Result<Scheduler> {
    let policy = match spec.policy.as_str() {
        "SCHED_OTHER" => 0,
        "SCHED_FIFO" => 1,
        "SCHED_RR" => 2,
        "SCHED_BATCH" => 3,
        "SCHED_ISO" => 4,
        "SCHED_IDLE" => 5,
        "SCHED_DEADLINE" => 6,
        "" => return Err(Error::invalid("process.scheduler.policy: scheduler policy is required")),
        other => {
            return Err(Error::invalid(format!(
                "process.scheduler.policy: invalid scheduler policy: {other:?}; known are SCHED_OTHER, SCHED_FIFO, \
                 SCHED_RR, SCHED_BATCH, SCHED_ISO, SCHED_IDLE, SCHED_DEADLINE"
            )));
        }
    };
    let mut flags = 0;
    for (index, flag) in spec.flags.iter().enumerate() {
        let known = SCHEDULER_FLAGS.iter().find(|(name, _)| name == flag);
        flags |= known.map(|(_, bit)| *bit).ok_or_else(|| {
            let names = SCHEDULER_FLAGS.map(|(name, _)| name).join(", ");
            Error::invalid(format!(
                "process.scheduler.flags[{index}]: invalid scheduler flag: {flag:?}; known are {names}"
            ))
        })?;
    }
    let nice = spec.nice.unwrap_or(0);
    if !(-20..=19).contains(&nice) {
        return Err(Error::invalid(format!(
            "process.scheduler.nice: invalid scheduler.nice: {nice} is not between -20 and 19"
        )));
    }
    let priority = spec.priority.unwrap_or(0);
    if priority != 0 && !matches!(policy, 1 | 2) {
        return Err(Error::invalid(
            "process.scheduler.priority: scheduler.priority can only be specified for SchedFIFO or SchedRR policy",
        ));
    }
    if (spec.runtime.is_some() || spec.deadline.is_some() || spec.period.is_some()) && policy != 6 {
        return Err(Error::invalid(
            "process.scheduler: scheduler runtime/deadline/period can only be specified for SchedDeadline policy",
        ));
    }
    if policy == 6 {
        check_deadline(spec)?;
    }
    let priority = u32::try_from(priority)
        .map_err(|_| Error::invalid(format!("process.scheduler.priority: {priority} is negative")))?;
    Ok(Scheduler {
        size: 0,
        policy,
        flags,
        nice,
        priority,
        runtime: spec.runtime.unwrap_or(0),
        deadline: spec.deadline.unwrap_or(0),
        period: spec.period.unwrap_or(0),
    })
}
