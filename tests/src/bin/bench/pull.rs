//! Pull and unpack of a large gzip image from a loopback registry, against containerd, podman and
//! `gzip -dc | tar -x` of all layers, two at a time.

use crate::table::{median, print};
use sampan_tests::peers::{containerd, ctr, podman};
use sampan_tests::{Node, Registry, World, run, workspace};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Instant;

const ROUNDS: usize = 3;

/// An image of eleven gzip layers made of this machine's own programs, libraries and toolchain.
fn large_image() -> PathBuf {
    let base = workspace().join("target/bench-images");
    let done = base.join("large");
    if !done.exists() {
        println!("making a large image once (a few minutes) ...");
        std::fs::create_dir_all(&base).expect("a directory");
        let script = r#"
            rm -rf work; mkdir work; cd work
            umoci init --layout oci; umoci new --image oci:1
            mkdir parts
            # Eleven parts of about 170 MB, files in the order of their names.
            find /usr/lib /usr/bin /usr/share /root/.rustup -xdev -type f -size -64M -printf '%s %p\n' 2>/dev/null \
              | LC_ALL=C sort -k2 | awk '{s+=$1; if (s>1850000000) exit; n=int(s/168200000); sub(/^[0-9]+ /,""); print > ("parts/" (10+n))}'
            for part in parts/*; do
              tar -cf - --numeric-owner -T "$part" 2>/dev/null | gzip -6 > layer.tgz
              umoci raw add-layer --image oci:1 <(gzip -dc layer.tgz)
              rm layer.tgz
            done
            mv oci ../large
            cd ..; rm -rf work
        "#;
        run(Command::new("bash").args(["-euc", script]).current_dir(&base), b"").ok();
    }
    done
}

/// The layers' blobs of the layout.
fn layers(layout: &Path) -> Vec<PathBuf> {
    let read = |digest: &str| -> serde_json::Value {
        let path = layout.join("blobs").join(digest.replace(':', "/"));
        serde_json::from_slice(&std::fs::read(path).expect("a blob")).expect("JSON")
    };
    let index: serde_json::Value =
        serde_json::from_slice(&std::fs::read(layout.join("index.json")).expect("index.json")).expect("JSON");
    let manifest = read(index["manifests"][0]["digest"].as_str().expect("a digest"));
    let layers = manifest["layers"].as_array().expect("layers");
    layers
        .iter()
        .map(|l| layout.join("blobs").join(l["digest"].as_str().expect("a digest").replace(':', "/")))
        .collect()
}

fn timed(action: impl FnOnce()) -> f64 {
    // What an earlier contender left dirty must not be written at this one's expense.
    rustix::fs::sync();
    let start = Instant::now();
    action();
    start.elapsed().as_secs_f64()
}

pub(crate) fn bench() {
    let layout = large_image();
    let blobs = layers(&layout);
    let bytes: u64 = blobs.iter().map(|b| b.metadata().map_or(0, |m| m.len())).sum();
    let world = World::new();
    let Some(registry) = Registry::start(&world, 5000) else { return };
    registry.push(&layout, "1", "large");
    let image = registry.name("large:1");
    let node = Node::new(&world);
    let mut times: [Vec<f64>; 4] = Default::default();
    for round in 0..ROUNDS {
        times[0].push(timed(|| drop(node.docker(&["pull", "-q", &image]).ok())));
        node.docker(&["rmi", &image]).ok();
        // A new store each time: removing an image from containerd 1.6 and waiting for it can take for ever.
        if let Some(peer) = containerd(&world, &format!("containerd-{round}")) {
            times[1].push(timed(|| drop(ctr(&peer, &["image", "pull", "--plain-http", &image]).ok())));
        }
        times[2].push(timed(|| drop(podman(&world, &["pull", "-q", "--tls-verify=false", &image]).ok())));
        podman(&world, &["rmi", &image]).ok();
        let list: Vec<String> = blobs.iter().map(|b| b.display().to_string()).collect();
        let out = world.dir().join("tar");
        let script = format!(
            "mkdir -p '{0}'; printf '%s\\n' {1} | xargs -P2 -I@ sh -c 'd=$(mktemp -d {0}/XXXXXX); gzip -dc @ | tar -x -C $d'",
            out.display(),
            list.join(" ")
        );
        times[3].push(timed(|| drop(run(Command::new("sh").args(["-c", &script]), b"").ok())));
        std::fs::remove_dir_all(&out).expect("remove what tar made");
    }
    let names =
        ["sampand (docker pull)", "containerd 1.6 (ctr image pull)", "podman 4.3", "gzip -dc | tar -x, two at a time"];
    let rows: Vec<(&str, f64)> =
        names.into_iter().zip(times).filter(|(_, t)| !t.is_empty()).map(|(n, t)| (n, median(t))).collect();
    print(
        &format!("Pull and unpack of {} gzip layers, {} MB, median of {ROUNDS}", blobs.len(), bytes / 1_000_000),
        "s",
        &rows,
    );
}
