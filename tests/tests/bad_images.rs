//! Images and registries that are wrong, broken or hostile: one clear error that names the thing,
//! docker's exit code, and nothing left behind.

use sampan_tests::hostile::{Entry, Fault, HostileRegistry, digest, file, tar};
use sampan_tests::{Node, World, peer, run};
use std::process::Command;

fn filler() -> Vec<u8> {
    // Incompressible enough and larger than any socket buffer, so that a cut falls in the middle.
    let mut state = 7u32;
    (0..3_000_000)
        .map(|_| {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            (state >> 24) as u8
        })
        .collect()
}

fn busybox() -> Vec<u8> {
    let program = std::fs::read("/bin/busybox").expect("busybox-static");
    tar(&[
        Entry { name: "bin/", kind: b'5', link: "", data: b"" },
        file("bin/busybox", &program),
        Entry { name: "bin/true", kind: b'2', link: "busybox", data: b"" },
    ])
}

/// Blobs, ingests and snapshots of the node's store.
fn stored(node: &Node<'_>) -> Vec<String> {
    let mut command = Command::new("find");
    command.arg(node.dir().join("root")).args([
        "-path",
        "*/blobs/sha256/*",
        "-o",
        "-path",
        "*/ingest*/*",
        "-o",
        "-path",
        "*/staging/*",
    ]);
    run(&mut command, b"").stdout.lines().map(Into::into).collect()
}

#[test]
fn broken_downloads_end_with_one_error_and_leave_nothing() {
    if peer("docker").is_none() {
        return;
    }
    let world = World::new();
    let node = Node::new(&world);
    let registry = HostileRegistry::start();
    let body = filler();
    let layer = |fault| {
        // Another name inside, so that each case has a layer of its own.
        vec![(busybox(), Fault::None), (tar(&[file(&format!("{fault:?}"), &body)]), fault)]
    };
    let corrupt = registry.add("corrupt", &layer(Fault::Corrupt));
    let said = node.docker(&["pull", &corrupt]).fails(1, "sha256:");
    assert!(said.stderr.to_lowercase().contains("digest"), "{}", said.stderr);
    for (name, fault) in [("cut", Fault::Cut), ("lie", Fault::LieAboutLength)] {
        let image = registry.add(name, &layer(fault));
        let said = node.docker(&["pull", &image]);
        assert_eq!(said.code, 1, "{name}: {said:?}");
        assert!(!said.stderr.is_empty(), "{name}");
        assert_eq!(node.docker(&["images", "-q"]).ok(), "", "{name} became visible");
        node.docker(&["run", "--rm", "--pull", "never", &image, "/bin/true"]).fails(125, "No such image");
    }
    for (name, fault) in [("cut-once", Fault::CutOnce), ("busy", Fault::BusyTwice)] {
        let image = registry.add(name, &layer(fault));
        node.docker(&["run", "--rm", "--network", "none", &image, "/bin/true"]).ok();
        node.docker(&["rmi", &image]).ok();
    }
    node.docker(&["pull", &corrupt.replace("corrupt", "absent")]).fails(1, "absent");
    node.assert_clean();
}

#[test]
fn layers_cannot_leave_the_root() {
    if peer("docker").is_none() {
        return;
    }
    let world = World::new();
    let node = Node::new(&world);
    let registry = HostileRegistry::start();
    let target = world.dir().join("victim");
    std::fs::write(&target, "untouched").expect("write");
    let victim = target.to_str().expect("utf-8");
    let up = format!("../../../../../../../../../..{victim}");
    let evil = b"overwritten";
    let link = |name: &'static str, kind, link: &str| (name, kind, link.to_owned());
    type Raw<'a> = (String, u8, String, &'a [u8]);
    let cases: Vec<(&str, Vec<Raw<'_>>)> = vec![
        ("dotdot", vec![(up.clone(), b'0', String::new(), evil)]),
        ("absolute", vec![(victim.to_owned(), b'0', String::new(), evil)]),
        (
            "symlink",
            vec![
                ("escape".into(), b'2', world.dir().display().to_string(), b""),
                ("escape/victim".into(), b'0', String::new(), evil),
            ],
        ),
        (
            "updir",
            vec![
                ("up".into(), b'2', "../../../../../../../../../..".into(), b""),
                (format!("up{victim}"), b'0', String::new(), evil),
            ],
        ),
        (
            "hardlink",
            vec![
                {
                    let (n, k, l) = link("hard", b'1', &up);
                    (n.into(), k, l, b"" as &[u8])
                },
                ("hard".into(), b'0', String::new(), evil),
            ],
        ),
        (
            "whiteout",
            vec![(
                format!("../../../../../../../../../..{}/.wh.victim", world.dir().display()),
                b'0',
                String::new(),
                b"",
            )],
        ),
    ];
    for (name, entries) in cases {
        let entries: Vec<Entry<'_>> =
            entries.iter().map(|(name, kind, link, data)| Entry { name, kind: *kind, link, data }).collect();
        let image = registry.add(name, &[(busybox(), Fault::None), (tar(&entries), Fault::None)]);
        let ran = node.docker(&["run", "--rm", "--network", "none", &image, "/bin/true"]);
        assert_eq!(std::fs::read_to_string(&target).expect("it still exists"), "untouched", "{name}: {ran:?}");
        if ran.code != 0 {
            assert!(ran.stderr.contains("layer") || ran.stderr.contains("sha256"), "{name}: {}", ran.stderr);
        }
        node.docker(&["rmi", "-f", &image]);
    }
    node.assert_clean();
}

#[test]
fn truncated_archives_name_the_layer() {
    if peer("docker").is_none() {
        return;
    }
    let world = World::new();
    let node = Node::new(&world);
    let registry = HostileRegistry::start();
    let mut short = busybox();
    short.truncate(700_000);
    let id = digest(&short);
    let image = registry.add("short", &[(short, Fault::None)]);
    let said = node.docker(&["pull", &image]);
    assert_eq!(said.code, 1, "{said:?}");
    assert!(said.stderr.contains(&id[..19]), "the error names the layer: {}", said.stderr);
    let before = stored(&node);
    node.docker(&["image", "prune", "-af"]).ok();
    assert!(stored(&node).len() <= before.len());
    node.assert_clean();
}

#[test]
fn a_full_disk_is_one_error_and_recovers() {
    if peer("docker").is_none() {
        return;
    }
    let world = World::new();
    let small = world.dir().join("n/root");
    std::fs::create_dir_all(&small).expect("a directory");
    let mut mount = Command::new("mount");
    run(mount.args(["-t", "tmpfs", "-o", "size=6m", "t"]).arg(&small), b"").ok();
    let node = Node::new(&world);
    let registry = HostileRegistry::start();
    let image = registry.add("large", &[(tar(&[file("a", &filler()), file("b", &filler())]), Fault::None)]);
    node.docker(&["pull", &image]).fails(1, "no space left on device");
    let tiny = registry.add("tiny", &[(tar(&[file("a", b"x")]), Fault::None)]);
    node.docker(&["image", "prune", "-af"]).ok();
    node.docker(&["pull", "-q", &tiny]).ok();
}
