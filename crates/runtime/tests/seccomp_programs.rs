//! The filters that are really loaded, read back from the kernel and compared with runc's.
#![cfg(target_arch = "x86_64")]

mod common;
#[path = "common/filters.rs"]
mod filters;

use std::path::Path;
use std::process::Command;

use common::{bench, text};
use filters::{MKDIR, build, policy, rule};
use oci::runtime::Seccomp;

/// The filters that runc and this runtime really load for one policy give the same verdicts.
#[test]
fn runc_loads_the_same() {
    let Some(runc) = ["/usr/sbin/runc", "/usr/bin/runc"].into_iter().find(|p| Path::new(p).exists()) else {
        println!("skipped: runc is not installed");
        return;
    };
    let Some(b) = bench() else { return };
    let Some(oracle) = build(&b, "oracle", include_str!("../src/seccomp/oracle.c"), &["-l:libseccomp.so.2"]) else {
        return;
    };
    let mut policies =
        vec![policy("ALLOW", vec![rule(&MKDIR, "ERRNO")]), policy("LOG", vec![rule(&["socket", "mkdirat"], "ERRNO")])];
    let path = Path::new("/usr/share/containers/seccomp.json");
    match std::fs::read(path) {
        // Podman's own conditions are unknown fields here, so the rules of all capabilities and machines come together.
        Ok(text) => {
            let mut podman: Seccomp = serde_json::from_slice(&text).expect("JSON");
            let unknown = unknown_names(&oracle, &podman);
            podman.syscalls.iter_mut().for_each(|r| r.names.retain(|n| !unknown.contains(n)));
            podman.architectures = ["SCMP_ARCH_X86_64", "SCMP_ARCH_X86", "SCMP_ARCH_X32"].map(String::from).into();
            for arches in [3, 2, 1] {
                podman.architectures.truncate(arches);
                policies.push(podman.clone());
            }
            // Where the last number is not that of a rule that allows.
            podman.syscalls.push(rule(&["process_mrelease"], "TRAP"));
            policies.push(podman);
        }
        Err(error) => println!("less compared: {}: {error}", path.display()),
    }
    for (number, policy) in policies.iter().enumerate() {
        let mut programs = Vec::new();
        for runtime in [common::RUNTIME, runc] {
            let Some(mut b) = bench() else { return };
            let mut policy = policy.clone();
            policy.architectures.retain(|a| a.contains("X86") || a.contains("X32"));
            b.linux().seccomp = Some(policy);
            // Then the filter is on before the container is started.
            b.process().no_new_privileges = false;
            b.runtime = runtime.into();
            b.script("true");
            let created = b.create();
            assert!(created.status.success(), "{runtime} {number}: {created:?}");
            let file = b.directory.path().join("program");
            let dumped = Command::new(&oracle).arg(&file).arg(b.pid().to_string()).status().expect("oracle");
            if dumped.code() == Some(8) {
                println!("skipped: this kernel does not show filters (CONFIG_CHECKPOINT_RESTORE)");
                return;
            }
            assert!(dumped.success(), "{dumped}");
            programs.push(std::fs::read(&file).expect("program"));
        }
        let lengths: Vec<usize> = programs.iter().map(|p| p.len() / 8).collect();
        println!("policy {number}: {lengths:?} instructions");
        let verdicts: Vec<_> = programs.iter().map(|p| runtime::fuzzing::verdicts(p)).collect();
        let edges = [0x3fff_ffff, 0x4000_0000, 0x7fff_ffff, 0x8000_0000, 0xbfff_ffff, 0xc000_0000, u32::MAX];
        for (audit, bit) in [(0xc000_003e, 0), (0x4000_0003, 0), (0xc000_003e, 0x4000_0000)] {
            for nr in (0..1000).map(|nr| nr | bit).chain(edges) {
                for first in [0, 1, 5, 8, 17, 40, 0x20000, 0x20008, 0x7e02_0000, 0xffff_ffff, 1 << 32, u64::MAX] {
                    let args = [first, 0, 0, 0, 0, 0];
                    let (ours, theirs) = (verdicts[0](audit, nr, args), verdicts[1](audit, nr, args));
                    assert_eq!(ours, theirs, "policy {number}: {audit:#x} {nr:#x} {first:#x}");
                }
            }
        }
    }
}

/// Names that this machine's libseccomp does not know, for which runc has no number to compare with the last one.
fn unknown_names(oracle: &Path, policy: &Seccomp) -> Vec<String> {
    let mut child = Command::new(oracle)
        .arg(oracle.with_extension("names"))
        .stdin(std::process::Stdio::piped())
        .stdout(std::process::Stdio::piped())
        .spawn()
        .expect("oracle");
    let names = policy.syscalls.iter().flat_map(|r| &r.names);
    let rules: String = names.map(|name| format!("rule 196608 {name} 0\n")).collect();
    let mut stdin = child.stdin.take().expect("stdin");
    std::io::Write::write_all(&mut stdin, format!("default 0\n{rules}").as_bytes()).expect("rules");
    drop(stdin);
    let output = child.wait_with_output().expect("oracle");
    assert!(output.status.success(), "{output:?}");
    text(&output).lines().map(str::to_owned).collect()
}
