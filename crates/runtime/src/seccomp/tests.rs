//! The compiled program is run by a small interpreter and compared with what the policy says.

use oci::runtime::{Seccomp, SyscallArg, SyscallRule};

use super::table::{Arch, lookup};
use super::*;

/// Runs a filter as the kernel would.
pub(super) fn run(program: &[Instruction], arch: u32, nr: u32, args: [u64; 6]) -> u32 {
    let mut data = Vec::new();
    data.extend_from_slice(&nr.to_le_bytes());
    data.extend_from_slice(&arch.to_le_bytes());
    data.extend_from_slice(&[0; 8]);
    args.iter().for_each(|a| data.extend_from_slice(&a.to_le_bytes()));
    let (mut accumulator, mut pc) = (0u32, 0usize);
    loop {
        let i = &program[pc];
        pc += 1;
        let mut skip = |test: bool| pc += usize::from(if test { i.jump_true } else { i.jump_false });
        match i.code {
            0x20 => {
                let at = i.k as usize;
                accumulator = u32::from_le_bytes([data[at], data[at + 1], data[at + 2], data[at + 3]]);
            }
            0x54 => accumulator &= i.k,
            0x05 => pc += i.k as usize,
            0x15 => skip(accumulator == i.k),
            0x25 => skip(accumulator > i.k),
            0x35 => skip(accumulator >= i.k),
            0x06 => return i.k,
            other => panic!("instruction {other:#x}"),
        }
    }
}

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
    let filter = Filter::compile(&policy(vec![rule(&["read"], "SCMP_ACT_ALLOW", vec![])])).expect("valid");
    assert_eq!(Filter::from_bytes(&filter.to_bytes()).expect("reads"), filter);
    assert!(Filter::from_bytes(&filter.to_bytes()[..13]).is_err());
}

#[test]
fn bad_policies_are_refused_by_name() {
    let bad = |change: fn(&mut Seccomp), word: &str| {
        let mut spec = policy(vec![rule(&["read"], "SCMP_ACT_ALLOW", vec![arg(0, "SCMP_CMP_EQ", 1, 0)])]);
        change(&mut spec);
        let error = Filter::compile(&spec).expect_err("refused").to_string();
        assert!(error.contains(word), "{error}");
    };
    bad(|s| s.default_action = "SCMP_ACT_FOO".into(), "SCMP_ACT_FOO");
    bad(|s| s.syscalls[0].action = "SCMP_ACT_NOTIFY".into(), "NOTIFY");
    bad(|s| s.syscalls[0].args[0].index = 6, "index 6");
    bad(|s| s.syscalls[0].args[0].op = "SCMP_CMP_XX".into(), "SCMP_CMP_XX");
    bad(|s| s.syscalls[0].errno_ret = Some(1), "errnoRet");
    bad(|s| s.architectures.push("SCMP_ARCH_Z80".into()), "Z80");
    bad(|s| s.flags.push("SECCOMP_X".into()), "SECCOMP_X");
    bad(|s| s.listener_path = Some("/x".into()), "listenerPath");
}
