//! A process, ready to be become: the container's own and those that `exec` adds.

use std::ffi::CString;

use oci::runtime::{Process, Scheduler as SpecScheduler, User};
use oci::{Error, Result};
use rustix::process::Resource;
use sys::process::Scheduler;

use crate::capabilities;

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
    /// `None` leaves the sets to what the kernel makes of them.
    pub(crate) capabilities: Option<capabilities::Sets>,
    pub(crate) rlimits: Vec<PlannedRlimit>,
    pub(crate) no_new_privileges: bool,
    pub(crate) oom_score_adj: Option<i32>,
    pub(crate) scheduler: Option<Scheduler>,
    pub(crate) io_priority: Option<(u16, u16)>,
    pub(crate) console_size: Option<(u16, u16)>,
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
        if process.args.first().is_none_or(String::is_empty) {
            return Err(Error::invalid("process.args: must not be empty"));
        }
        if !process.cwd.starts_with('/') {
            return Err(Error::invalid(format!("process.cwd: {:?} must be an absolute path", process.cwd)));
        }
        if let Some(profile) = process.apparmor_profile.as_deref().filter(|p| !p.is_empty())
            && std::fs::read_to_string("/sys/module/apparmor/parameters/enabled").is_ok_and(|on| on.starts_with('Y'))
        {
            return Err(Error::unsupported(format!("process.apparmorProfile: {profile:?}: AppArmor is not supported")));
        } else if let Some(profile) =
            process.apparmor_profile.as_deref().filter(|p| !p.is_empty() && *p != "unconfined")
        {
            return Err(Error::unsupported(format!(
                "process.apparmorProfile: {profile:?} cannot be applied: apparmor is not enabled on the system"
            )));
        }
        if let Some(label) = process.selinux_label.as_deref().filter(|l| !l.is_empty()) {
            return Err(Error::unsupported(format!("process.selinuxLabel: {label:?}: SELinux is not supported")));
        }
        if process.exec_cpu_affinity.is_some() {
            return Err(Error::unsupported("process.execCPUAffinity: is not supported"));
        }
        if let Some(umask) = process.user.umask.filter(|u| *u > 0o777) {
            return Err(Error::invalid(format!("process.user.umask: {umask:#o} is more than 0777")));
        }
        let mut rlimits: Vec<PlannedRlimit> = Vec::new();
        for limit in &process.rlimits {
            let Some((_, resource)) = RLIMITS.iter().find(|(name, _)| *name == limit.kind) else {
                return Err(Error::invalid(format!("process.rlimits: unknown type {:?}", limit.kind)));
            };
            if limit.soft > limit.hard {
                return Err(Error::invalid(format!(
                    "process.rlimits: {}: the soft limit {} exceeds the hard limit {}",
                    limit.kind, limit.soft, limit.hard
                )));
            }
            if rlimits.iter().any(|(_, name, ..)| *name == limit.kind) {
                return Err(Error::invalid(format!("process.rlimits: {} is given twice", limit.kind)));
            }
            rlimits.push((*resource, limit.kind.clone(), limit.soft, limit.hard));
        }
        if let Some(score) = process.oom_score_adj.filter(|s| !(-1000..=1000).contains(s)) {
            return Err(Error::invalid(format!("process.oomScoreAdj: {score} is not between -1000 and 1000")));
        }
        let io_priority = match &process.io_priority {
            None => None,
            Some(p) => {
                let class = match p.class.as_str() {
                    "IOPRIO_CLASS_RT" => 1,
                    "IOPRIO_CLASS_BE" => 2,
                    "IOPRIO_CLASS_IDLE" => 3,
                    other => return Err(Error::invalid(format!("process.ioPriority.class: unknown {other:?}"))),
                };
                if !(0..=7).contains(&p.priority) {
                    return Err(Error::invalid(format!(
                        "process.ioPriority.priority: {} is not between 0 and 7",
                        p.priority
                    )));
                }
                Some((class, p.priority as u16))
            }
        };
        let size = process.console_size.as_ref();
        Ok(Self {
            args: process.args.iter().map(|a| c_string("process.args", a)).collect::<Result<_>>()?,
            env: process.env.iter().map(|e| c_string("process.env", e)).collect::<Result<_>>()?,
            needs_home: !process.env.iter().any(|e| e.len() > 5 && e.starts_with("HOME=")),
            cwd: c_string("process.cwd", &process.cwd)?,
            make_cwd: false,
            user: process.user.clone(),
            capabilities: process.capabilities.as_ref().map(capabilities::Sets::from_spec).transpose()?,
            rlimits,
            no_new_privileges: process.no_new_privileges,
            oom_score_adj: process.oom_score_adj,
            scheduler: process.scheduler.as_ref().map(scheduler).transpose()?,
            io_priority,
            console_size: size.map(|s| (s.height.min(0xffff) as u16, s.width.min(0xffff) as u16)),
        })
    }
}

fn scheduler(spec: &SpecScheduler) -> Result<Scheduler> {
    let policy = match spec.policy.as_str() {
        "SCHED_OTHER" => 0,
        "SCHED_FIFO" => 1,
        "SCHED_RR" => 2,
        "SCHED_BATCH" => 3,
        "SCHED_ISO" => 4,
        "SCHED_IDLE" => 5,
        "SCHED_DEADLINE" => 6,
        other => return Err(Error::invalid(format!("process.scheduler.policy: unknown {other:?}"))),
    };
    let mut flags = 0;
    for flag in &spec.flags {
        flags |= match flag.as_str() {
            "SCHED_FLAG_RESET_ON_FORK" => 0x01,
            "SCHED_FLAG_RECLAIM" => 0x02,
            "SCHED_FLAG_DL_OVERRUN" => 0x04,
            "SCHED_FLAG_KEEP_POLICY" => 0x08,
            "SCHED_FLAG_KEEP_PARAMS" => 0x10,
            "SCHED_FLAG_UTIL_CLAMP_MIN" => 0x20,
            "SCHED_FLAG_UTIL_CLAMP_MAX" => 0x40,
            other => return Err(Error::invalid(format!("process.scheduler.flags: unknown {other:?}"))),
        };
    }
    let nice = spec.nice.unwrap_or(0);
    if !(-20..=19).contains(&nice) {
        return Err(Error::invalid(format!("process.scheduler.nice: {nice} is not between -20 and 19")));
    }
    let priority = spec.priority.unwrap_or(0);
    if priority != 0 && !matches!(policy, 1 | 2) {
        return Err(Error::invalid("process.scheduler.priority: only for SCHED_FIFO and SCHED_RR"));
    }
    if (spec.runtime.is_some() || spec.deadline.is_some() || spec.period.is_some()) && policy != 6 {
        return Err(Error::invalid("process.scheduler: runtime, deadline and period are only for SCHED_DEADLINE"));
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
