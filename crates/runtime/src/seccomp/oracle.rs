//! The compiler against libseccomp: the same verdict for every system call of x86-64, i386 and x32, with sampled
//! arguments.

use std::io::Write;
use std::path::Path;
use std::process::{Command, Stdio};

use oci::runtime::{Seccomp, SyscallArg, SyscallRule};
use serde_json::Value;

use super::fuzzing::run;
use super::policy::action;
use super::*;

const TOKENS: [(&str, u32); 3] =
    [("SCMP_ARCH_X86_64", 0xc000_003e), ("SCMP_ARCH_X86", 0x4000_0003), ("SCMP_ARCH_X32", 0x4000_003e)];

/// Compiles with libseccomp; the reason when that cannot be had here.
fn oracle(spec: &Seccomp, directory: &Path) -> Result<Vec<Instruction>, String> {
    let program = directory.join("oracle");
    let source = directory.join("oracle.c");
    std::fs::write(&source, include_str!("oracle.c")).map_err(|e| e.to_string())?;
    let built = Command::new("cc").arg("-o").arg(&program).arg(&source).arg("-l:libseccomp.so.2").output();
    match built {
        Ok(output) if output.status.success() => {}
        Ok(output) => return Err(String::from_utf8_lossy(&output.stderr).into_owned()),
        Err(error) => return Err(format!("cc: {error}")),
    }
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
            continue; // libseccomp refuses such rules, callers skip them
        }
        for name in &rule.names {
            text += &format!("rule {verdict} {name} {}", rule.args.len());
            for arg in &rule.args {
                let op = ["", "SCMP_CMP_NE", "SCMP_CMP_LT", "SCMP_CMP_LE", "SCMP_CMP_EQ", "SCMP_CMP_GE", "SCMP_CMP_GT"]
                    .iter()
                    .position(|o| *o == arg.op)
                    .unwrap_or(7);
                text += &format!(" {} {op} {} {}", arg.index, arg.value, arg.value_two);
            }
            text += "\n";
        }
    }
    let out = directory.join("filter");
    let mut child =
        Command::new(&program).arg(&out).stdin(Stdio::piped()).spawn().map_err(|e| format!("oracle: {e}"))?;
    child.stdin.take().expect("stdin").write_all(text.as_bytes()).map_err(|e| format!("oracle: {e}"))?;
    let status = child.wait().map_err(|e| format!("oracle: {e}"))?;
    assert!(status.success(), "oracle: {status}");
    // As a stored filter: no flags, no listener.
    let mut bytes = vec![0; 8];
    bytes.extend([0xff; 8]);
    bytes.extend(std::fs::read(&out).expect("filter"));
    Ok(Filter::from_bytes(&bytes).expect("filter").program)
}

/// Values that matter to the rules of a policy, and their neighbours.
fn samples(spec: &Seccomp) -> Vec<u64> {
    let mut values = vec![0, 1, 40, u64::from(u32::MAX), 1 << 32, u64::MAX];
    for arg in spec.syscalls.iter().flat_map(|r| &r.args) {
        for v in [arg.value, arg.value_two] {
            values.extend([v, v.wrapping_add(1), v.wrapping_sub(1), v | 1 << 32, !v]);
        }
    }
    values.sort_unstable();
    values.dedup();
    values
}

fn compare(name: &str, spec: &Seccomp) {
    let directory = tempfile::tempdir().expect("tempdir");
    let theirs = match oracle(spec, directory.path()) {
        Ok(program) => program,
        Err(reason) => {
            println!("skipped: no libseccomp to compare with: {reason}");
            return;
        }
    };
    let ours = Filter::compile_for(spec, Arch::X86_64).expect("compiles").program;
    println!("{name}: {} instructions, libseccomp {}", ours.len(), theirs.len());
    let default = action(&spec.default_action, spec.default_errno_ret).expect("default action");
    let samples = samples(spec);
    let named = |nr: u32, arch: Arch| {
        spec.syscalls.iter().any(|r| {
            !r.args.is_empty() && r.names.iter().any(|n| table::lookup(n).and_then(|n| n.on(arch)) == Some(nr))
        })
    };
    let mut compared = 0u64;
    for (arch, audit, bit) in
        [(Arch::X86_64, 0xc000_003e, 0), (Arch::X86, 0x4000_0003, 0), (Arch::X32, 0xc000_003e, 0x4000_0000)]
    {
        let last =
            spec.syscalls.iter().flat_map(|r| &r.names).filter_map(|n| table::lookup(n)?.on(arch)).max().unwrap_or(0);
        for nr in (0..1100).map(|nr| nr | bit) {
            // Policies look at the first three arguments only; others get one sample each.
            let deep = named(nr, arch) || arch == Arch::X86 && matches!(nr, 102 | 117);
            let few = &samples[..2];
            let choice = if deep { samples.as_slice() } else { few };
            for a in choice {
                for (b, c) in choice.iter().flat_map(|b| few.iter().chain(choice.iter().take(12)).map(move |c| (b, c)))
                {
                    let args = [*a, *b, *c, 3, 4, 5];
                    let (mine, other) = (run(&ours, audit, nr, args), run(&theirs, audit, nr, args));
                    compared += 1;
                    // Unknown to libseccomp 2.5, or beyond the policy: "no such call" instead of the default.
                    let beyond = nr > last && other == default && mine == ERRNO | ENOSYS;
                    assert!(mine == other || beyond, "{name} {arch:?} {nr:#x} {args:x?}: {mine:#x} against {other:#x}");
                }
            }
        }
    }
    println!("{name}: {compared} calls agree");
}

/// Debian's policy of podman, for a container with the default capabilities.
#[test]
fn the_policy_of_podman() {
    let path = "/usr/share/containers/seccomp.json";
    let Ok(text) = std::fs::read_to_string(path) else {
        println!("skipped: {path} is not installed");
        return;
    };
    let json: Value = serde_json::from_str(&text).expect("JSON");
    let capabilities = ["CAP_SYS_CHROOT", "CAP_AUDIT_WRITE"];
    let any = |v: &Value, key: &str, of: &[&str]| {
        v[key].as_array().is_some_and(|list| list.iter().any(|x| of.contains(&x.as_str().unwrap_or(""))))
    };
    let mut spec = Seccomp {
        default_action: "SCMP_ACT_ERRNO".into(),
        default_errno_ret: json["defaultErrnoRet"].as_u64().map(|n| n as u32),
        architectures: TOKENS.map(|t| t.0.to_owned()).into(),
        ..Default::default()
    };
    for rule in json["syscalls"].as_array().expect("syscalls") {
        let (includes, excludes) = (&rule["includes"], &rule["excludes"]);
        let wanted = (includes["caps"].is_null() || any(includes, "caps", &capabilities))
            && (includes["arches"].is_null() || any(includes, "arches", &["amd64", "x86", "x32"]))
            && !any(excludes, "caps", &capabilities);
        if wanted {
            let mut rule: SyscallRule = serde_json::from_value(rule.clone()).expect("rule");
            // libseccomp 2.5 does not know the calls of newer kernels.
            rule.names.retain(|n| table::lookup(n).is_some_and(|n| n.on(Arch::X86_64).is_none_or(|nr| nr < 450)));
            spec.syscalls.push(rule);
        }
    }
    compare("podman", &spec);
}

fn rule(names: &[&str], action: &str, errno_ret: Option<u32>, args: &[(u32, &str, u64, u64)]) -> SyscallRule {
    SyscallRule {
        names: names.iter().map(|s| s.to_string()).collect(),
        action: action.into(),
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

/// Every operator, several rules for one call, several arguments, multiplexed calls; as Docker's policy has them.
#[test]
fn operators_and_combinations() {
    let allow = "SCMP_ACT_ALLOW";
    let spec = Seccomp {
        default_action: "SCMP_ACT_ERRNO".into(),
        architectures: TOKENS.map(|t| t.0.to_owned()).into(),
        syscalls: vec![
            rule(&["read", "write", "mmap", "mmap2", "exit_group", "execve", "statx", "openat2"], allow, None, &[]),
            rule(&["personality"], allow, None, &[(0, "EQ", 0, 0)]),
            rule(&["personality"], allow, None, &[(0, "EQ", 0x20008, 0)]),
            rule(&["personality"], allow, None, &[(0, "EQ", 0xffff_ffff, 0)]),
            rule(&["socket"], allow, None, &[(0, "NE", 40, 0)]),
            rule(&["clone"], allow, None, &[(0, "MASKED_EQ", 2_114_060_288, 0)]),
            rule(&["clone3"], "SCMP_ACT_ERRNO", Some(38), &[]),
            rule(&["ioctl"], "SCMP_ACT_LOG", None, &[(1, "GT", 0x5400, 0), (2, "LE", 7, 0)]),
            rule(&["lseek"], "SCMP_ACT_TRAP", None, &[(2, "GE", 3, 0)]),
            rule(&["ftruncate"], "SCMP_ACT_KILL_PROCESS", None, &[(1, "LT", 0x1_0000_0005, 0)]),
            rule(&["bind", "connect", "semop", "shmget"], allow, None, &[]),
        ],
        ..Default::default()
    };
    compare("operators", &spec);
}

/// Without listed architectures, only the native one may call.
#[test]
fn the_native_architecture_alone() {
    let spec = Seccomp {
        default_action: "SCMP_ACT_ALLOW".into(),
        syscalls: vec![rule(&["ptrace", "kexec_load", "bpf"], "SCMP_ACT_ERRNO", Some(1), &[])],
        ..Default::default()
    };
    compare("native", &spec);
}
