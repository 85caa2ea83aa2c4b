//! The compiled program is run by a small interpreter and compared with what the policy says.

use oci::runtime::{Seccomp, SyscallArg, SyscallRule};

use super::fuzzing::run;
use super::policy::{EPERM, KILL_PROCESS};
use super::table::{Arch, lookup};
use super::*;

const X86_64: u32 = 0xc000_003e;
const X86: u32 = 0x4000_0003;

fn rule(names: &[&str], action: &str, args: Vec<SyscallArg>) -> SyscallRule {
    SyscallRule {
        names: names.iter().map(|s| s.to_string()).collect(),
        action: action.into(),
        args,
        ..Default::default()
    }
}

fn arg(index: u32, op: &str, value: u64, value_two: u64) -> SyscallArg {
    SyscallArg { index, value, value_two, op: op.into() }
}

fn policy(rules: Vec<SyscallRule>) -> Seccomp {
    Seccomp {
        default_action: "SCMP_ACT_ERRNO".into(),
        architectures: ["SCMP_ARCH_X86_64", "SCMP_ARCH_X86", "SCMP_ARCH_X32"].map(String::from).into(),
        syscalls: rules,
        ..Default::default()
    }
}

#[test]
fn every_number_gets_its_action() {
    let names = ["read", "write", "close", "fstat", "execve", "statx", "openat2"];
    let filter =
        Filter::compile_for(&policy(vec![rule(&names, "SCMP_ACT_ALLOW", vec![])]), Arch::X86_64).expect("valid");
    for (arch, audit, bit) in [(Arch::X86_64, X86_64, 0), (Arch::X86, X86, 0), (Arch::X32, X86_64, 0x4000_0000)] {
        let allowed: Vec<u32> = names.iter().filter_map(|n| lookup(n)?.on(arch)).collect();
        let last = allowed.iter().max().copied().expect("some");
        for nr in 0..700 {
            let nr = nr | bit;
            let expected = match nr {
                nr if allowed.contains(&nr) => ALLOW,
                nr if nr > last => ERRNO | ENOSYS,
                _ => ERRNO | EPERM,
            };
            assert_eq!(run(&filter.program, audit, nr, [0; 6]), expected, "{arch:?} {nr:#x}");
        }
    }
    assert_eq!(run(&filter.program, 0xc000_00b7, 0, [0; 6]), KILL_THREAD);
}

#[test]
fn comparisons_are_64_bits_wide() {
    type Holds = fn(u64, u64) -> bool;
    let ops: [(&str, Holds); 6] = [
        ("SCMP_CMP_EQ", |a, b| a == b),
        ("SCMP_CMP_NE", |a, b| a != b),
        ("SCMP_CMP_LT", |a, b| a < b),
        ("SCMP_CMP_LE", |a, b| a <= b),
        ("SCMP_CMP_GT", |a, b| a > b),
        ("SCMP_CMP_GE", |a, b| a >= b),
    ];
    let interesting =
        [0, 1, 2, 0x7fff_ffff, 0x8000_0000, 0xffff_ffff, 1 << 32, (1 << 32) + 1, (2 << 32) + 1, u64::MAX - 1, u64::MAX];
    for (name, holds) in ops {
        for value in interesting {
            let spec = policy(vec![rule(&["personality"], "SCMP_ACT_ALLOW", vec![arg(2, name, value, 0)])]);
            let filter = Filter::compile_for(&spec, Arch::X86_64).expect("valid");
            let nr = lookup("personality").and_then(|n| n.on(Arch::X86_64)).expect("known");
            for given in interesting {
                let expected = if holds(given, value) { ALLOW } else { ERRNO | EPERM };
                let got = run(&filter.program, X86_64, nr, [9, 9, given, 9, 9, 9]);
                assert_eq!(got, expected, "{given:#x} {name} {value:#x}");
            }
        }
    }
}

#[test]
fn several_arguments_must_all_match_and_one_argument_twice_is_a_choice() {
    let all = vec![arg(0, "SCMP_CMP_EQ", 1, 0), arg(1, "SCMP_CMP_MASKED_EQ", 0xf0, 0x20), arg(2, "SCMP_CMP_NE", 5, 0)];
    let any = vec![arg(0, "SCMP_CMP_EQ", 1, 0), arg(0, "SCMP_CMP_EQ", 7, 0)];
    let spec = policy(vec![rule(&["read"], "SCMP_ACT_ALLOW", all), rule(&["write"], "SCMP_ACT_LOG", any)]);
    let filter = Filter::compile_for(&spec, Arch::X86_64).expect("valid");
    let read = |a, b, c| run(&filter.program, X86_64, 0, [a, b, c, 0, 0, 0]);
    assert_eq!(read(1, 0x2f, 4), ALLOW);
    assert_eq!(read(1, 0x2f, 5), ERRNO | EPERM);
    assert_eq!(read(1, 0x3f, 4), ERRNO | EPERM);
    assert_eq!(read(2, 0x2f, 4), ERRNO | EPERM);
    let write = |a| run(&filter.program, X86_64, 1, [a, 0, 0, 0, 0, 0]);
    assert_eq!([write(1), write(7), write(2)], [LOG, LOG, ERRNO | EPERM]);
}

#[test]
fn a_call_of_an_unlisted_architecture_is_killed() {
    let mut spec = policy(vec![rule(&["read"], "SCMP_ACT_ALLOW", vec![])]);
    spec.architectures.clear();
    let filter = Filter::compile_for(&spec, Arch::X86_64).expect("valid");
    assert_eq!(run(&filter.program, X86_64, 0, [0; 6]), ALLOW);
    assert_eq!(run(&filter.program, X86_64, 0x4000_0000, [0; 6]), KILL_THREAD);
    assert_eq!(run(&filter.program, X86_64, u32::MAX, [0; 6]), ERRNO | EPERM);
    assert_eq!(run(&filter.program, X86, 3, [0; 6]), KILL_THREAD);
}

#[test]
fn a_filter_survives_its_file() {
    let mut spec = policy(vec![rule(&["read"], "SCMP_ACT_ALLOW", vec![])]);
    for metadata in [None, Some("zaż".to_owned())] {
        let filter = Filter::compile(&spec).expect("valid").expect("a filter");
        assert_eq!(Filter::from_bytes(&filter.to_bytes()).expect("reads"), filter);
        spec.syscalls.push(rule(&["mkdir"], "SCMP_ACT_NOTIFY", vec![]));
        (spec.listener_path, spec.listener_metadata) = (Some("/run/agent".into()), metadata);
    }
    let filter = Filter::compile(&spec).expect("valid").expect("a filter");
    assert_eq!(Filter::from_bytes(&filter.to_bytes()).expect("reads"), filter);
    assert!(Filter::from_bytes(&filter.to_bytes()[..13]).is_err());
}

#[test]
fn bad_policies_are_refused_by_name() {
    let bad = |change: &dyn Fn(&mut Seccomp), word: &str| {
        let mut spec = policy(vec![rule(&["read"], "SCMP_ACT_ALLOW", vec![arg(0, "SCMP_CMP_EQ", 1, 0)])]);
        change(&mut spec);
        let error = Filter::compile(&spec).expect_err("refused").to_string();
        assert!(error.starts_with("linux.seccomp: ") && error.contains(word), "{error}");
    };
    bad(&|s| s.default_action = "SCMP_ACT_FOO".into(), "defaultAction: string SCMP_ACT_FOO is not a valid action");
    bad(&|s| s.default_action = String::new(), "defaultAction: ");
    bad(&|s| s.default_errno_ret = Some(4096), "defaultAction: errnoRet: 4096 is more than 4095");
    let trace = |s: &mut Seccomp| {
        (s.syscalls[0].action, s.syscalls[0].errno_ret) = ("SCMP_ACT_TRACE".into(), Some(65536));
    };
    bad(&trace, "syscalls[0]: errnoRet: 65536 is more than 65535");
    bad(&|s| s.syscalls[0].args[0].index = 6, "syscalls[0]: args[0]: index: 6 is more than 5");
    bad(
        &|s| s.syscalls[0].args[0].op = "SCMP_CMP_XX".into(),
        "args[0]: op: string SCMP_CMP_XX is not a valid operator",
    );
    bad(&|s| s.syscalls[0].errno_ret = Some(1), "errnoRet: cannot be given with action SCMP_ACT_ALLOW");
    bad(&|s| s.syscalls[0].names[0].clear(), "empty string is not a valid syscall");
    bad(&|s| s.architectures.push("SCMP_ARCH_Z80".into()), "string SCMP_ARCH_Z80 is not a valid arch for seccomp");
    bad(&|s| s.flags = Some(vec!["SECCOMP_X".into()]), "seccomp flag SECCOMP_X is not known");
    let wait = |s: &mut Seccomp| s.flags = Some(vec!["SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV".into()]);
    bad(&wait, "WAIT_KILLABLE_RECV needs a rule with SCMP_ACT_NOTIFY");
    bad(&|s| s.syscalls[0].action = "SCMP_ACT_NOTIFY".into(), "seccomp listenerPath is not set");
    bad(&|s| s.default_action = "SCMP_ACT_NOTIFY".into(), "SCMP_ACT_NOTIFY cannot be used as default action");
    let notify = |s: &mut Seccomp, path: &str| {
        s.syscalls[0].action = "SCMP_ACT_NOTIFY".into();
        s.listener_path = Some(path.into());
    };
    let abstract_path = |s: &mut Seccomp| notify(s, "@here");
    bad(&abstract_path, "listenerPath: @here must be an absolute path");
    let write = |s: &mut Seccomp| {
        notify(s, "/run/agent");
        s.syscalls[0].names.push("write".into());
    };
    bad(&write, "SCMP_ACT_NOTIFY cannot be used for the write syscall");
}

#[test]
fn flags_are_those_of_runc() {
    let with = |flags: Option<&[&str]>, notify: bool| {
        let mut spec = policy(vec![rule(&["mkdir"], "SCMP_ACT_LOG", vec![])]);
        spec.flags = flags.map(|f| f.iter().map(|f| format!("SECCOMP_FILTER_FLAG_{f}")).collect());
        if notify {
            spec.syscalls[0].action = "SCMP_ACT_NOTIFY".into();
            spec.listener_path = Some("/run/agent".into());
        }
        Filter::compile(&spec).expect("valid").expect("a filter").flags
    };
    // What is not said is SPEC_ALLOW; TSYNC has nothing to do.
    assert_eq!(with(None, false), 4);
    assert_eq!(with(Some(&[]), false), 0);
    assert_eq!(with(Some(&["TSYNC"]), false), 0);
    assert_eq!(with(Some(&["LOG", "TSYNC", "SPEC_ALLOW"]), false), 6);
    assert_eq!(with(Some(&["WAIT_KILLABLE_RECV"]), true), 8 | 32);
    assert_eq!(with(None, true), 8 | 4);
}

#[test]
fn a_policy_that_says_nothing_is_none() {
    assert_eq!(Filter::compile(&Seccomp::default()).expect("valid"), None);
}

#[test]
fn a_huge_policy_is_refused_in_time() {
    // Many names times many conditions: refused before it is multiplied out.
    let args = (0..5000).map(|i| arg(0, "SCMP_CMP_EQ", i, 0)).collect();
    let spec = policy(vec![rule(&vec!["read"; 100_000], "SCMP_ACT_ALLOW", args)]);
    let error = Filter::compile(&spec).expect_err("too much").to_string();
    assert!(error.contains("more than 2048 conditions"), "{error}");
    // Few enough to count, too many for the kernel.
    let args = (0..2000).map(|i| arg(0, "SCMP_CMP_EQ", i << 32 | 7, 0)).collect();
    let error = Filter::compile(&policy(vec![rule(&["read"], "SCMP_ACT_ALLOW", args)])).expect_err("too much");
    assert!(error.to_string().contains("the kernel takes 4096"), "{error}");
}

#[test]
fn an_unconditional_rule_outdoes_conditions_before_and_after() {
    let condition = || vec![arg(0, "SCMP_CMP_EQ", 1, 0)];
    let spec = policy(vec![
        rule(&["read"], "SCMP_ACT_KILL_PROCESS", condition()),
        rule(&["read"], "SCMP_ACT_LOG", vec![]),
        rule(&["read"], "SCMP_ACT_TRAP", condition()),
        rule(&["read"], "SCMP_ACT_ALLOW", vec![]),
        rule(&["close"], "SCMP_ACT_KILL_PROCESS", condition()),
    ]);
    let filter = Filter::compile_for(&spec, Arch::X86_64).expect("valid");
    assert_eq!(run(&filter.program, X86_64, 0, [1, 0, 0, 0, 0, 0]), LOG);
    assert_eq!(run(&filter.program, X86_64, 3, [1, 0, 0, 0, 0, 0]), KILL_PROCESS);
}

#[test]
fn a_long_policy_jumps_far() {
    // Longer than a conditional jump reaches, so that jumps and returns are brought nearer.
    let names: Vec<String> = (0..150).map(|i| table::name_at(i * 3)).collect();
    let mut spec = policy(Vec::new());
    for (i, name) in names.iter().enumerate() {
        spec.syscalls.push(rule(&[name], "SCMP_ACT_ALLOW", vec![arg(1, "SCMP_CMP_GT", (i as u64) << 33, 0)]));
        spec.syscalls.push(SyscallRule {
            errno_ret: Some(i as u32 + 2),
            ..rule(&[name], "SCMP_ACT_ERRNO", vec![arg(0, "SCMP_CMP_NE", 3, 0)])
        });
    }
    let filter = Filter::compile_for(&spec, Arch::X86_64).expect("valid");
    fuzzing::check_program(&filter.program);
    assert!(filter.program.len() > 1000, "{}", filter.program.len());
    for (i, name) in names.iter().enumerate() {
        let Some(nr) = lookup(name).and_then(|n| n.on(Arch::X86_64)) else { continue };
        let verdict = |a, b| run(&filter.program, X86_64, nr, [a, b, 0, 0, 0, 0]);
        let bound = (i as u64) << 33;
        assert_eq!(verdict(3, bound + 1), ALLOW, "{name}");
        assert_eq!(verdict(4, bound), ERRNO | (i as u32 + 2), "{name}");
        assert_eq!(verdict(3, bound), ERRNO | EPERM, "{name}");
    }
}

#[test]
fn every_architecture_of_the_specification_may_be_listed() {
    let mut spec = policy(vec![rule(&["read"], "SCMP_ACT_ALLOW", vec![])]);
    let short = Filter::compile_for(&spec, Arch::X86_64).expect("valid").program;
    spec.architectures = features().archs;
    let long = Filter::compile_for(&spec, Arch::X86_64).expect("valid").program;
    let same = |arch, nr| assert_eq!(run(&long, arch, nr, [0; 6]), run(&short, arch, nr, [0; 6]), "{arch:#x} {nr}");
    (0..600).for_each(|nr| [X86_64, X86].into_iter().for_each(|arch| same(arch, nr)));
    // aarch64 and arm have tables too: number 63 and 3 is read.
    assert_eq!(run(&long, 0xc000_00b7, 63, [0; 6]), ALLOW);
    assert_eq!(run(&long, 0x4000_0028, 3, [0; 6]), ALLOW);
    assert_eq!(run(&long, 0x8000_0016, 3, [0; 6]), KILL_THREAD, "s390x");
}
