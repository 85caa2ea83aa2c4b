//! The OCI runtimes alone: `run` of `/bin/true` with the default configuration.

use crate::table::{Contender, interleaved, print};
use sampan_tests::{World, peer, program, run};
use std::path::Path;
use std::process::Command;

fn bundle(world: &World) -> std::path::PathBuf {
    let bundle = world.dir().join("bundle");
    std::fs::create_dir_all(bundle.join("rootfs/bin")).expect("a bundle");
    std::fs::copy("/bin/busybox", bundle.join("rootfs/bin/busybox")).expect("busybox-static");
    std::os::unix::fs::symlink("busybox", bundle.join("rootfs/bin/true")).expect("a link");
    run(Command::new("runc").arg("spec").current_dir(&bundle), b"").ok();
    let path = bundle.join("config.json");
    let mut spec: serde_json::Value = serde_json::from_slice(&std::fs::read(&path).expect("read")).expect("JSON");
    spec["process"]["args"] = serde_json::json!(["/bin/true"]);
    spec["process"]["terminal"] = serde_json::json!(false);
    spec["process"]["rlimits"] = serde_json::json!([]);
    spec["linux"]["cgroupsPath"] = serde_json::json!(format!("/{}/c", world.name()));
    std::fs::write(&path, spec.to_string()).expect("write");
    bundle
}

pub(crate) fn bench() {
    let (Some(runc), Some(crun)) = (peer("runc"), peer("crun")) else { return };
    let world = World::new();
    world.hide_unified_cgroups();
    let bundle = bundle(&world);
    let start = |runtime: &Path, extra: &[&str]| {
        let root = world.dir().join(runtime.file_name().expect("a name"));
        let mut command = Command::new(runtime);
        command.args(extra).arg("--root").arg(root).args(["run", "x"]).current_dir(&bundle);
        run(&mut command, b"").ok();
    };
    let ours = program("sampan-runtime");
    let mut contenders = [
        Contender { name: "sampan-runtime", action: Box::new(|| start(&ours, &[])) },
        Contender { name: "crun 1.8", action: Box::new(|| start(&crun, &[])) },
        Contender { name: "runc 1.1", action: Box::new(|| start(&runc, &[])) },
    ];
    let medians = interleaved(&mut contenders, 25);
    let rows: Vec<(&str, f64)> = contenders.iter().map(|c| c.name).zip(medians).collect();
    print("OCI runtime, run /bin/true, median of 25", "ms", &rows);
}
