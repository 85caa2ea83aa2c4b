//! The compiler against libseccomp: the same verdict for every system call of x86-64, i386 and x32, with arguments at
//! the edges of every condition. What runc puts in front of libseccomp's program (`ENOSYS` beyond the last number) is
//! modelled here; `tests/seccomp_programs.rs` compares with what runc really loads.

use std::collections::{BTreeMap, BTreeSet};
use std::io::Write;
use std::process::{Command, Stdio};

use oci::runtime::{Seccomp, SyscallArg, SyscallRule};
use serde_json::Value;

use super::fuzzing::run;
use super::policy::{EPERM, action};
use super::*;

/// Docker's default policy as the engine has it: the two must fit together, so it is not copied.
#[path = "../../../engine/src/spec/seccomp_table.rs"]
mod docker;

const TOKENS: [(&str, u32); 3] =
    [("SCMP_ARCH_X86_64", 0xc000_003e), ("SCMP_ARCH_X86", 0x4000_0003), ("SCMP_ARCH_X32", 0x4000_003e)];

/// The oracle's program, built from `oracle.c`.
struct Oracle(tempfile::TempDir);

impl Oracle {
    /// `None`, with the reason printed, where there is no compiler or libseccomp.
    fn new() -> Option<Self> {
        let directory = tempfile::tempdir().expect("tempdir");
        let source = directory.path().join("oracle.c");
        std::fs::write(&source, include_str!("oracle.c")).expect("source");
        let built = Command::new("cc")
            .arg("-o")
            .arg(directory.path().join("oracle"))
            .arg(&source)
            .arg("-l:libseccomp.so.2")
            .output();
        let reason = match built {
            Ok(output) if output.status.success() => return Some(Self(directory)),
            Ok(output) => String::from_utf8_lossy(&output.stderr).into_owned(),
            Err(error) => format!("cc: {error}"),
        };
        println!("skipped: no libseccomp to compare with: {reason}");
        None
    }

    /// What libseccomp compiles; the names that it does not know.
    fn compile(&self, spec: &Seccomp) -> (Vec<Instruction>, Vec<String>) {
        let default = action(&spec.default_action, spec.default_errno_ret).expect("default action");
        let mut text = format!("default {default}\n");
        for name in &spec.architectures {
            if let Some((_, token)) = TOKENS.iter().find(|t| t.0 == name) {
                text += &format!("arch {token}\n");
            }
        }
        for rule in &spec.syscalls {
            let verdict = action(&rule.action, rule.errno_ret).expect("action");
            if verdict == default {
                continue; // libseccomp refuses such rules, runc skips them
            }
            let twice = (0..6).any(|i| rule.args.iter().filter(|a| a.index == i).count() > 1);
            let conditions: Vec<&[SyscallArg]> =
                if twice { rule.args.chunks(1).collect() } else { vec![rule.args.as_slice()] };
            for name in &rule.names {
                for args in &conditions {
                    text += &format!("rule {verdict} {name} {}", args.len());
                    for arg in *args {
                        let ops = ["", "NE", "LT", "LE", "EQ", "GE", "GT", "MASKED_EQ"];
                        let op = ops.iter().position(|o| arg.op == format!("SCMP_CMP_{o}")).expect("operator");
                        text += &format!(" {} {op} {} {}", arg.index, arg.value, arg.value_two);
                    }
                    text += "\n";
                }
            }
        }
        let out = self.0.path().join("filter");
        let mut child = Command::new(self.0.path().join("oracle"))
            .arg(&out)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("oracle");
        child.stdin.take().expect("stdin").write_all(text.as_bytes()).expect("rules");
        let output = child.wait_with_output().expect("oracle");
        assert!(output.status.success(), "oracle: {output:?} on {text}");
        let unknown = String::from_utf8_lossy(&output.stdout).lines().map(str::to_owned).collect();
        // As a stored filter: no flags, no listener.
        let mut bytes = vec![0; 8];
        bytes.extend([0xff; 8]);
        bytes.extend(std::fs::read(&out).expect("filter"));
        (Filter::from_bytes(&bytes).expect("filter").program, unknown)
    }

    /// Compares; names that this libseccomp is too old for are left out of both.
    fn compare(&self, title: &str, spec: &Seccomp) {
        let mut spec = spec.clone();
        // x32 has it since Linux 6.10, which libseccomp of Debian 12 does not know.
        spec.syscalls.iter_mut().for_each(|rule| rule.names.retain(|name| name != "map_shadow_stack"));
        let (mut theirs, unknown) = self.compile(&spec);
        if !unknown.is_empty() {
            spec.syscalls.iter_mut().for_each(|rule| rule.names.retain(|name| !unknown.contains(name)));
            theirs = self.compile(&spec).0;
        }
        let ours = Filter::compile_for(&spec, Arch::X86_64).expect("compiles").program;
        fuzzing::check_program(&ours);
        let stub = Stub::new(&spec);
        let conditions = Conditions::new(&spec);
        let mut compared = 0u64;
        for (arch, audit, bit) in
            [(Arch::X86_64, 0xc000_003e, 0), (Arch::X86, 0x4000_0003, 0), (Arch::X32, 0xc000_003e, 0x4000_0000)]
        {
            // Every number that a kernel has, and where the bits change that tell architectures apart.
            let edges = [0x3fff_ffff, 0x7fff_ffff, 0x8000_0000, 0xbfff_ffff, 0xc000_0000, u32::MAX - 1, u32::MAX];
            if compares_the_wrong_word(&theirs, audit) {
                println!("{title}: libseccomp's program forgets to load the number; {arch:?} is not compared");
                continue;
            }
            for nr in (0..1100).map(|nr| nr | bit).chain(edges) {
                for args in conditions.samples(arch, nr) {
                    let expected = stub.verdict(audit, nr).unwrap_or_else(|| run(&theirs, audit, nr, args));
                    let got = run(&ours, audit, nr, args);
                    compared += 1;
                    assert_eq!(got, expected, "{title} {arch:?} {nr:#x} {args:x?} of {spec:?}");
                }
            }
        }
        for audit in [0xc000_00b7, 0x8000_0016] {
            assert_eq!(run(&ours, audit, 1, [0; 6]), run(&theirs, audit, 1, [0; 6]), "{title}");
        }
        println!(
            "{title}: {} instructions (libseccomp {}), {compared} calls agree, {} names unknown there",
            ours.len(),
            theirs.len(),
            unknown.len()
        );
    }
}

/// libseccomp 2.5 drops rules for calls that an architecture has no number for, such as `accept` of i386, and when such
/// a rule comes first, also the load of the number that went with it: its program then compares the architecture.
fn compares_the_wrong_word(program: &[Instruction], audit: u32) -> bool {
    let Some(at) = program.iter().position(|i| i.code == 0x15 && i.k == audit) else { return false };
    let mut at = at + 1 + usize::from(program[at].jump_true);
    while program[at].code == 0x05 {
        at += 1 + program[at].k as usize;
    }
    program[at].code == 0x15
}

/// What runc puts in front of libseccomp's program.
struct Stub(BTreeMap<&'static str, u32>);

impl Stub {
    fn new(spec: &Seccomp) -> Self {
        let mut last = BTreeMap::new();
        let lenient = ["SCMP_ACT_ALLOW", "SCMP_ACT_LOG", "SCMP_ACT_TRACE"].contains(&spec.default_action.as_str());
        for (name, arch) in [("x86_64", Arch::X86_64), ("x86", Arch::X86), ("x32", Arch::X32)] {
            let listed = spec.architectures.iter().any(|a| a.eq_ignore_ascii_case(&format!("SCMP_ARCH_{name}")));
            let names = spec.syscalls.iter().flat_map(|r| &r.names);
            // libseccomp knows socket calls and IPC of i386 by negative numbers only.
            let numbers = names
                .filter(|n| arch != Arch::X86 || compile::multiplexed(n).is_none())
                .filter_map(|n| table::lookup(n)?.on(arch));
            let highest = numbers.max().filter(|n| *n > 0 && !lenient && (listed || arch == Arch::X86_64));
            last.extend(highest.map(|n| (name, n)));
        }
        Self(last)
    }

    fn verdict(&self, audit: u32, nr: u32) -> Option<u32> {
        let arch = match (audit, nr & 0x4000_0000) {
            (0x4000_0003, _) => "x86",
            (_, 0) => "x86_64",
            _ => "x32",
        };
        self.0.get(arch).filter(|last| nr > **last).map(|_| ERRNO | ENOSYS)
    }
}

/// For each call, the values at the edges of the conditions on each of its arguments.
struct Conditions(BTreeMap<(u32, u32), [BTreeSet<u64>; 6]>);

impl Conditions {
    fn new(spec: &Seccomp) -> Self {
        let mut calls: BTreeMap<(u32, u32), [BTreeSet<u64>; 6]> = BTreeMap::new();
        for rule in &spec.syscalls {
            for name in &rule.names {
                for arch in [Arch::X86_64, Arch::X86, Arch::X32] {
                    if let Some(nr) = table::lookup(name).and_then(|n| n.on(arch)).filter(|_| !rule.args.is_empty()) {
                        let values = calls.entry((arch as u32, nr)).or_default();
                        for arg in &rule.args {
                            for v in [arg.value, arg.value_two] {
                                let near = [v, v.wrapping_add(1), v.wrapping_sub(1), v ^ 1 << 32, v ^ 1 << 31, !v];
                                values[arg.index as usize].extend(near);
                            }
                            values[arg.index as usize].extend([0, 1, u64::from(u32::MAX), 1 << 32, u64::MAX]);
                        }
                    }
                }
                if let Some((nr, function)) = compile::multiplexed(name) {
                    let values = calls.entry((Arch::X86 as u32, nr)).or_default();
                    values[0].extend([0, function, function + 1, function | 1 << 32, 50]);
                }
            }
        }
        Self(calls)
    }

    /// Every value of each argument beside several choices of the others; all combinations where they are few.
    fn samples(&self, arch: Arch, nr: u32) -> Vec<[u64; 6]> {
        let Some(values) = self.0.get(&(arch as u32, nr)) else { return vec![[0; 6], [u64::MAX; 6]] };
        let lists: Vec<Vec<u64>> =
            values.iter().map(|v| if v.is_empty() { vec![7] } else { v.iter().copied().collect() }).collect();
        let all: usize = lists.iter().map(Vec::len).product();
        let pick = |mut n: usize| {
            std::array::from_fn(|i| {
                let value = lists[i][n % lists[i].len()];
                n /= lists[i].len();
                value
            })
        };
        match all {
            0..4096 => (0..all).map(pick).collect(),
            // A step without a common divisor with the lengths wanders through all of them.
            _ => (0..4096).map(|i| pick(i * (all / 4096 * 2 + 1) % all)).collect(),
        }
    }
}

fn rule(names: &[&str], action: &str, errno_ret: Option<u32>, args: &[(u32, &str, u64, u64)]) -> SyscallRule {
    SyscallRule {
        names: names.iter().map(|s| s.to_string()).collect(),
        action: format!("SCMP_ACT_{action}"),
        errno_ret,
        args: args
            .iter()
            .map(|(index, op, value, value_two)| SyscallArg {
                index: *index,
                value: *value,
                value_two: *value_two,
                op: format!("SCMP_CMP_{op}"),
            })
            .collect(),
    }
}

fn policy(default: &str, syscalls: Vec<SyscallRule>) -> Seccomp {
    Seccomp {
        default_action: format!("SCMP_ACT_{default}"),
        architectures: TOKENS.map(|t| t.0.to_owned()).into(),
        syscalls,
        ..Default::default()
    }
}

/// The default policy of Docker for a container with these capabilities.
fn docker_policy(capabilities: &[&str]) -> Seccomp {
    let holds = |when: &docker::When| {
        (when.arches.is_empty() || when.arches.contains(&"amd64"))
            && !when.not_arches.contains(&"amd64")
            && (when.cap.is_empty() || capabilities.contains(&when.cap))
            && !capabilities.contains(&when.without_cap)
            && when.kernel <= (6, 1)
    };
    let rules = docker::DEFAULT.iter().filter(|row| holds(&row.when)).map(|row| SyscallRule {
        names: row.calls.iter().map(|&name| name.to_owned()).collect(),
        action: if row.errno.is_some() { "SCMP_ACT_ERRNO" } else { "SCMP_ACT_ALLOW" }.into(),
        errno_ret: row.errno,
        args: row
            .arg
            .iter()
            .map(|&(index, value, value_two, op)| SyscallArg { index, value, value_two, op: op.into() })
            .collect(),
    });
    Seccomp { default_errno_ret: Some(EPERM), ..policy("ERRNO", rules.collect()) }
}

#[test]
fn the_policy_of_docker() {
    let Some(oracle) = Oracle::new() else { return };
    let usual = ["CAP_SYS_CHROOT", "CAP_AUDIT_WRITE", "CAP_NET_RAW", "CAP_SETUID"];
    let admin = ["CAP_SYS_CHROOT", "CAP_SYS_ADMIN"];
    let all = crate::capabilities::NAMES;
    for (title, capabilities) in
        [("docker", usual.as_slice()), ("docker, none", &[]), ("docker, CAP_SYS_ADMIN", &admin), ("docker, all", &all)]
    {
        let mut spec = docker_policy(capabilities);
        oracle.compare(title, &spec);
        spec.architectures.truncate(1);
        oracle.compare(&format!("{title}, x86_64 alone"), &spec);
    }
}

/// Debian's policy of podman, for a container with the default capabilities.
#[test]
fn the_policy_of_podman() {
    let path = "/usr/share/containers/seccomp.json";
    let Ok(text) = std::fs::read_to_string(path) else {
        println!("skipped: {path} is not installed");
        return;
    };
    let Some(oracle) = Oracle::new() else { return };
    let json: Value = serde_json::from_str(&text).expect("JSON");
    let any = |v: &Value, key: &str, of: &[&str]| {
        v[key].as_array().is_some_and(|list| list.iter().any(|x| of.contains(&x.as_str().unwrap_or(""))))
    };
    for capabilities in [&["CAP_SYS_CHROOT", "CAP_AUDIT_WRITE"], &["CAP_SYS_ADMIN", "CAP_SYS_PTRACE"]] {
        let mut spec = policy("ERRNO", Vec::new());
        spec.default_errno_ret = json["defaultErrnoRet"].as_u64().map(|n| n as u32);
        for rule in json["syscalls"].as_array().expect("syscalls") {
            let (includes, excludes) = (&rule["includes"], &rule["excludes"]);
            let wanted = (includes["caps"].is_null() || any(includes, "caps", capabilities))
                && (includes["arches"].is_null() || any(includes, "arches", &["amd64", "x86", "x32"]))
                && !any(excludes, "caps", capabilities);
            if wanted {
                spec.syscalls.push(serde_json::from_value(rule.clone()).expect("rule"));
            }
        }
        oracle.compare("podman", &spec);
    }
}

/// The policies that runtimes are tested with: one call denied, everything denied, nothing named, each default action.
#[test]
fn the_policies_of_test_suites() {
    let Some(oracle) = Oracle::new() else { return };
    oracle.compare("runtime-tools", &policy("ALLOW", vec![rule(&["getcwd"], "ERRNO", None, &[])]));
    let names = ["mkdir", "mkdirat", "close_range", "fsopen", "openat2", "open_tree", "move_mount", "mount_setattr"];
    oracle.compare("runc", &policy("ALLOW", vec![rule(&names, "ERRNO", Some(100), &[])]));
    for default in ["ERRNO", "KILL", "KILL_PROCESS", "KILL_THREAD", "LOG", "TRACE", "TRAP", "ALLOW"] {
        for names in [["read", "read"], ["exit_group", "statx"], ["accept", "semop"], ["read", "mknodat"]] {
            for action in ["ALLOW", "ERRNO", "NOTIFY"] {
                let mut spec = policy(default, vec![rule(&names, action, None, &[])]);
                spec.listener_path = Some("/run/agent".into());
                for arches in [3, 1] {
                    spec.architectures.truncate(arches);
                    oracle.compare(&format!("{default} {action} {names:?} {arches}"), &spec);
                }
            }
        }
    }
    for errno in [0, 1, 38, 4094] {
        let mut spec = policy("ERRNO", vec![rule(&["read", "openat2"], "ALLOW", None, &[])]);
        spec.default_errno_ret = Some(errno);
        oracle.compare(&format!("defaultErrnoRet {errno}"), &spec);
    }
    let args = [(0, "EQ", 1, 0), (0, "EQ", 7, 0), (1, "GT", 1 << 33, 0)];
    oracle.compare("alternatives", &policy("ERRNO", vec![rule(&["read", "write"], "ALLOW", None, &args)]));
}

/// Every operator, several rules for one call, several arguments, multiplexed calls; as Docker's policy has them.
#[test]
fn operators_and_combinations() {
    let Some(oracle) = Oracle::new() else { return };
    let spec = policy(
        "ERRNO",
        vec![
            rule(&["read", "write", "mmap", "mmap2", "exit_group", "execve", "statx", "openat2"], "ALLOW", None, &[]),
            rule(&["personality"], "ALLOW", None, &[(0, "EQ", 0, 0)]),
            rule(&["personality"], "ALLOW", None, &[(0, "EQ", 0x20008, 0)]),
            rule(&["personality"], "ALLOW", None, &[(0, "EQ", 0xffff_ffff, 0)]),
            rule(&["socket"], "ALLOW", None, &[(0, "NE", 40, 0)]),
            rule(&["clone"], "ALLOW", None, &[(0, "MASKED_EQ", 2_114_060_288, 0)]),
            rule(&["clone3"], "ERRNO", Some(38), &[]),
            rule(&["ioctl"], "LOG", None, &[(1, "GT", 0x5400, 0), (2, "LE", 7, 0)]),
            rule(&["lseek"], "TRAP", None, &[(2, "GE", 3, 0)]),
            rule(&["ftruncate"], "KILL_PROCESS", None, &[(1, "LT", 0x1_0000_0005, 0)]),
            rule(&["bind", "connect", "semop", "shmget"], "ALLOW", None, &[]),
        ],
    );
    oracle.compare("operators", &spec);
    for op in ["EQ", "NE", "LT", "LE", "GT", "GE", "MASKED_EQ"] {
        for value in [0, 1, 0x7fff_ffff, 0xffff_ffff, 1 << 32, 0x1_0000_0005, 0xffff_ffff_0000_0000, u64::MAX] {
            let twos = [0, 1, 0x1_0000_0001, u64::MAX];
            for two in &twos[..if op == "MASKED_EQ" { 4 } else { 1 }] {
                let spec = policy("ERRNO", vec![rule(&["fcntl", "socket"], "ALLOW", None, &[(1, op, value, *two)])]);
                oracle.compare(&format!("{op} {value:#x} {two:#x}"), &spec);
            }
        }
    }
}

/// Policies made of random rules; `SAMPAN_ORACLE_SEED` and `SAMPAN_ORACLE_ROUNDS` choose others.
#[test]
fn random_policies() {
    let Some(oracle) = Oracle::new() else { return };
    let number = |name: &str, default: u64| std::env::var(name).ok().and_then(|n| n.parse().ok()).unwrap_or(default);
    let mut state = number("SAMPAN_ORACLE_SEED", 0x5eed_0c0f_fee5_eed1).max(1);
    println!("SAMPAN_ORACLE_SEED={state}");
    let mut random = move |end: usize| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        (state >> 11) as usize % end
    };
    let defaults = ["ERRNO", "ALLOW", "KILL_PROCESS", "KILL", "LOG", "TRAP", "TRACE"];
    let values = [0, 1, 2, 3, 40, 0x7e02_0000, 0xffff_ffff, 1 << 32, 0x1_0000_0005, 5 << 40, u64::MAX];
    let ops = ["EQ", "NE", "LT", "LE", "GT", "GE", "MASKED_EQ"];
    for round in 0..number("SAMPAN_ORACLE_ROUNDS", 60) {
        let mut spec = policy(defaults[random(defaults.len())], Vec::new());
        spec.architectures.truncate(random(4));
        // One action for each call: in which order overlapping conditions of different actions are tried is
        // libseccomp's own secret.
        let mut actions: BTreeMap<String, (&str, Option<u32>)> = BTreeMap::new();
        for _ in 0..random(30) {
            let name = match random(4) {
                0 => ["socket", "bind", "accept", "semop", "shmat", "socketcall", "ipc", "recvmmsg"][random(8)]
                    .to_owned(),
                _ => loop {
                    let name = table::name_at(random(1000));
                    if table::lookup(&name).is_some_and(|n| n.on(Arch::X86_64).is_some()) {
                        break name;
                    }
                },
            };
            // Nor does it merge orderings of one 64-bit argument well: [x <= 2^32] and [x <= 5 * 2^40] become less than
            // the latter alone. Several rules for one call get equalities, as real policies have them.
            let again = actions.contains_key(&name);
            let ops = if again { &ops[..1] } else { &ops };
            if again
                && spec.syscalls.iter().any(|r| r.names[0] == name && r.args.iter().any(|a| !a.op.ends_with("_EQ")))
            {
                continue;
            }
            let choice = [("ALLOW", None), ("LOG", None), ("TRAP", None), ("ERRNO", Some(9)), ("TRACE", Some(77))];
            let (action, errno) = *actions.entry(name.clone()).or_insert(choice[random(choice.len())]);
            let mut indexes: Vec<u32> = (0..6).collect();
            // A condition on a multiplexer overlaps with its sub-functions, which may have other actions.
            let most = if ["socketcall", "ipc"].contains(&name.as_str()) { 0 } else { [0, 0, 1, 1, 2, 3][random(6)] };
            let args: Vec<_> = (0..most)
                .map(|_| {
                    let index = indexes.swap_remove(random(indexes.len()));
                    (index, ops[random(ops.len())], values[random(values.len())], values[random(values.len())])
                })
                .collect();
            spec.syscalls.push(rule(&[&name], action, errno, &args));
        }
        oracle.compare(&format!("random {round}"), &spec);
    }
}
