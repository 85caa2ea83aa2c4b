//! Layers that are cut, damaged, hostile or too large: one clear error each, and nothing left behind.

mod support;

use oci::Kind;
use oci::image::{Descriptor, media};
use sampan_storage as storage;
use std::process::Command;
use storage::{Labels, LayerSpec, Options, Store, digest_of};
use support::*;

/// One entry of a hand-made tar, with no check of anything.
fn entry(kind: u8, name: &str, link: &str, data: &[u8]) -> Vec<u8> {
    let mut header = [0u8; 512];
    header[..name.len()].copy_from_slice(name.as_bytes());
    header[100..107].copy_from_slice(b"0000755");
    header[108..115].copy_from_slice(b"0000000");
    header[116..123].copy_from_slice(b"0000000");
    header[124..135].copy_from_slice(format!("{:011o}", data.len()).as_bytes());
    header[136..147].copy_from_slice(b"00000000000");
    header[148..156].fill(b' ');
    header[156] = kind;
    header[157..157 + link.len()].copy_from_slice(link.as_bytes());
    header[257..265].copy_from_slice(b"ustar\x0000");
    let sum: u32 = header.iter().map(|b| u32::from(*b)).sum();
    header[148..155].copy_from_slice(format!("{sum:06o}\0").as_bytes());
    let mut out = header.to_vec();
    out.extend_from_slice(data);
    out.resize(out.len().next_multiple_of(512), 0);
    out
}

fn tar(entries: &[Vec<u8>]) -> Vec<u8> {
    let mut out = entries.concat();
    out.resize(out.len() + 1024, 0);
    out
}

fn file(name: &str) -> Vec<u8> {
    entry(b'0', name, "", b"data")
}

/// Makes a layer of these entries and shows the staged files through a snapshot.
fn unpack(f: &Fixture, entries: &[Vec<u8>]) -> oci::Result<std::path::PathBuf> {
    let layer = receive(&f.store, &tar(entries), Packing::Gzip, "overlayfs")?;
    let top = f.store.commit_chain("overlayfs", None, vec![layer])?;
    f.store.snapshotter("overlayfs")?.layer_path(&top)
}

#[test]
fn names_that_leave_the_root_are_refused_and_named() {
    let cases: [(&str, Vec<Vec<u8>>); 8] = [
        ("../escape", vec![file("../escape")]),
        ("a/../../escape", vec![file("a/../../escape")]),
        ("/../escape", vec![file("/../escape")]),
        ("../../etc/passwd", vec![entry(b'1', "hard", "../../etc/passwd", b"")]),
        ("to-nothing", vec![entry(b'1', "to-nothing", "/etc/hostname", b"")]),
        ("via", vec![entry(b'2', "out", "/etc", b""), entry(b'1', "via", "out/passwd", b"")]),
        ("self", vec![entry(b'1', "self", "self", b"")]),
        ("./", vec![entry(b'2', "./", "/etc", b"")]),
    ];
    for (named, entries) in cases {
        let f = fixture();
        let error = unpack(&f, &entries).unwrap_err();
        assert_eq!(error.kind(), Kind::InvalidArgument, "{named}: {error}");
        assert!(error.to_string().contains(named) && error.to_string().contains("layer sha256:"), "{named}: {error}");
        assert_eq!(leftovers(&f.store), [""; 0], "{named}");
        assert_eq!(f.store.content().list().unwrap(), []);
        assert!(!f.temp.path().join("escape").exists() && !f.temp.path().parent().unwrap().join("escape").exists());
    }
}

#[test]
fn links_on_the_way_are_followed_inside_only() {
    let f = fixture();
    let outside = f.dir("outside");
    let absolute = outside.to_str().unwrap().to_owned();
    let fs = unpack(
        &f,
        &[
            file("/absolute"),
            entry(b'2', "out", &absolute, b""),
            file("out/one"),
            entry(b'2', "up", "../../../../../../../..", b""),
            file("up/tmp/two"),
            // A directory becomes a link after its handle was used.
            entry(b'5', "dir/", "", b""),
            file("dir/three"),
            entry(b'2', "dir", &absolute, b""),
            file("dir/four"),
            // A link takes the place of a file, and the file that of the link.
            entry(b'2', "swap", &format!("{absolute}/five"), b""),
            file("swap"),
            entry(b'2', "loop", "loop", b""),
        ],
    )
    .unwrap();
    assert_eq!(std::fs::read_dir(&outside).unwrap().count(), 0);
    assert!(fs.join("absolute").is_file() && fs.join("tmp/two").is_file());
    assert!(fs.join("swap").is_file() && !fs.join("swap").is_symlink());
    let inside = fs.join(absolute.trim_start_matches('/'));
    assert!(inside.join("one").is_file() && inside.join("four").is_file());
    let error = unpack(&f, &[entry(b'2', "loop", "loop", b""), file("loop/x")]).unwrap_err();
    assert!(error.to_string().contains("loop/x"), "{error}");
    let error = unpack(&f, &[file("a"), file("a/b")]).unwrap_err();
    assert!(error.to_string().contains("not a directory"), "{error}");
}

#[test]
fn whiteouts_in_every_order() {
    let f = fixture();
    let lower = unpack(&f, &[file("d/x"), file("e/x"), file("f"), file("g/x")]).unwrap();
    assert!(lower.join("d/x").is_file());
    let base = f.store.snapshotter("overlayfs").unwrap().walk().unwrap()[0].key.clone();
    let upper = tar(&[
        // Hidden first, then there again: nothing of the old shows.
        file(".wh.d"),
        file("d/new"),
        // There first, then hidden: what this layer brings stays.
        file("e/new"),
        file(".wh.e"),
        file("f"),
        file(".wh.f"),
        file(".wh..wh.plnk"),
        entry(b'5', "g", "", b""),
        file("g/.wh..wh..opq"),
    ]);
    for name in ["overlayfs", "native"] {
        let s = f.store.snapshotter(name).unwrap();
        let below = if name == "native" {
            let layer =
                receive(&f.store, &tar(&[file("d/x"), file("e/x"), file("f"), file("g/x")]), Packing::None, name);
            f.store.commit_chain(name, None, vec![layer.unwrap()]).unwrap()
        } else {
            base.clone()
        };
        let layer = receive(&f.store, &upper, Packing::None, name).unwrap();
        let top = f.store.commit_chain(name, Some(&below), vec![layer]).unwrap();
        let root = mount(&s.view(name, Some(&top), Labels::new()).unwrap(), &f.dir(name));
        let found: Vec<String> = listing(&root.0).into_keys().collect();
        assert_eq!(found, ["", "d", "d/new", "e", "e/new", "f", "g"], "{name}");
    }
    for bad in [".wh.", ".wh..", ".wh..."] {
        assert!(unpack(&f, &[file(bad)]).unwrap_err().to_string().contains("whiteout"));
    }
}

#[test]
fn a_cut_download_resumes_and_ends_right() {
    let f = fixture();
    let tree = f.dir("tree");
    sh(&tree, "for i in $(seq 300); do head -c 5000 /dev/urandom >f$i; done; tar --format=pax -cf ../t .");
    let tar = std::fs::read(f.temp.path().join("t")).unwrap();
    let (blob, media_type) = pack(&tar, Packing::Gzip);
    let spec = spec(&blob, media_type, &tar, "overlayfs");
    let mut sink = f.store.layer_sink(&spec).unwrap();
    assert_eq!(f.store.layer_sink(&spec).err().map(|e| e.kind()), Some(Kind::Conflict));
    sink.write(&blob[..600_001]).unwrap();
    drop(sink);
    // Finishing too early names both lengths and keeps the bytes.
    let error = f.store.layer_sink(&spec).unwrap().finish().unwrap_err();
    assert_eq!(error.kind(), Kind::Corrupt);
    assert!(error.to_string().contains(&format!("expected {} bytes, found 600001", blob.len())), "{error}");
    let f = f.reopen();
    let mut sink = f.store.layer_sink(&spec).unwrap();
    assert_eq!(sink.offset(), 600_001);
    sink.write(&blob[600_001..]).unwrap();
    let top = f.store.commit_chain("overlayfs", None, vec![sink.finish().unwrap()]).unwrap();
    let fs = f.store.snapshotter("overlayfs").unwrap().layer_path(&top).unwrap();
    assert_same(&listing(&fs), &listing(&tree));
    assert_eq!(f.store.content().info(&spec.descriptor.digest).unwrap().size, blob.len() as u64);
    // And from the stored blob, for the other snapshotter.
    let native = LayerSpec { snapshotter: "native".into(), ..spec };
    let top = f.store.commit_chain("native", None, vec![f.store.unpack_blob(&native).unwrap()]).unwrap();
    let fs = f.store.snapshotter("native").unwrap().layer_path(&top).unwrap();
    assert_same(&listing(&fs), &listing(&tree));
    assert_eq!(leftovers(&f.store), [""; 0]);
}

#[test]
fn wrong_digests_lengths_and_types_are_told_apart() {
    let f = fixture();
    let tar = tar(&[file("a"), file("b")]);
    let (blob, media_type) = pack(&tar, Packing::Gzip);
    let right = spec(&blob, media_type, &tar, "overlayfs");
    let other = digest_of(b"other");
    let send = |spec: &LayerSpec, bytes: &[u8]| -> oci::Error {
        let mut sink = f.store.layer_sink(spec).unwrap();
        match sink.write(bytes) {
            Ok(()) => sink.finish().unwrap_err(),
            Err(error) => error,
        }
    };
    let with = |change: &dyn Fn(&mut LayerSpec)| {
        let mut spec = right.clone();
        change(&mut spec);
        spec
    };
    let mut damaged = blob.clone();
    damaged[blob.len() / 2] ^= 0x20;
    let cases: [(&str, LayerSpec, &[u8], Vec<String>); 5] = [
        (
            "digest",
            with(&|s| s.descriptor.digest = other.clone()),
            &blob,
            vec![format!("expected {other}"), format!("found {}", digest_of(&blob))],
        ),
        (
            "diff id",
            with(&|s| s.diff_id = Some(other.clone())),
            &blob,
            vec![format!("expected diff id {other}"), format!("found {}", digest_of(&tar))],
        ),
        ("damage", right.clone(), &damaged, vec![format!("found {}", digest_of(&damaged))]),
        (
            "length",
            with(&|s| s.descriptor.size -= 1),
            &blob,
            vec![format!("expected {} bytes, found at least {}", blob.len() - 1, blob.len())],
        ),
        (
            "type",
            with(&|s| s.descriptor.media_type = media::OCI_LAYER_ZSTD.into()),
            &blob,
            vec!["Gzip".into(), "Zstd".into()],
        ),
    ];
    for (what, spec, bytes, words) in cases {
        let error = send(&spec, bytes);
        assert_eq!(error.kind(), Kind::Corrupt, "{what}: {error}");
        for word in words.iter().chain([&format!("layer {}", spec.descriptor.digest)]) {
            assert!(error.to_string().contains(word), "{what}: {error} lacks {word}");
        }
        assert_eq!(leftovers(&f.store), [""; 0], "{what}");
    }
    let odd = LayerSpec { descriptor: Descriptor::new("text/plain", digest_of(b""), 0), ..right.clone() };
    assert_eq!(f.store.layer_sink(&odd).err().map(|e| e.kind()), Some(Kind::Unsupported));
    // After all of these the right bytes are as welcome as ever.
    receive(&f.store, &tar, Packing::Gzip, "overlayfs").unwrap();
}

#[test]
fn sha512_layers() {
    let f = fixture();
    let tar = tar(&[file("a")]);
    let digest = sha512(&tar);
    let spec = LayerSpec {
        descriptor: Descriptor::new(media::OCI_LAYER, digest.clone(), tar.len() as u64),
        diff_id: Some(digest.clone()),
        key: "k".into(),
        snapshotter: "overlayfs".into(),
    };
    let mut sink = f.store.layer_sink(&spec).unwrap();
    sink.write(&tar).unwrap();
    assert_eq!(sink.finish().unwrap().diff_id(), &digest);
    assert_eq!(f.store.content().read(&digest, 1 << 20).unwrap(), tar);
}

#[test]
fn a_full_disk_ends_with_its_name_and_frees_what_it_took() {
    let temp = tempfile::Builder::new().prefix("sampan-test-").tempdir().unwrap();
    let disk = temp.path().join("disk");
    std::fs::create_dir(&disk).unwrap();
    let mounted = Command::new("mount").args(["-t", "tmpfs", "-o", "size=24m", "tmpfs"]).arg(&disk).status();
    if !mounted.is_ok_and(|status| status.success()) {
        println!("skipped: tmpfs can't be mounted here");
        return;
    }
    let _mounted = Mounted(disk.clone());
    let store = Store::open(&disk.join("root"), Options::default()).unwrap();
    let zeros = vec![0; 64 << 20];
    let tar = tar(&[file("small"), entry(b'0', "large", "", &zeros)]);
    let error = receive(&store, &tar, Packing::Gzip, "overlayfs").unwrap_err();
    assert_eq!(error.kind(), Kind::ResourceExhausted, "{error}");
    assert!(error.to_string().contains("\"large\"") && error.to_string().contains("layer sha256:"), "{error}");
    assert_eq!(leftovers(&store), [""; 0]);
    let error = receive(&store, &tar, Packing::None, "overlayfs").unwrap_err();
    assert_eq!(error.kind(), Kind::ResourceExhausted, "{error}");
    assert_eq!(leftovers(&store), [""; 0]);
    // There is room again.
    store.content().put(&vec![1; 8 << 20]).unwrap();
}

#[test]
fn layers_of_umoci_unpack_to_what_umoci_unpacks() {
    if !have("umoci") {
        println!("skipped: there is no umoci");
        return;
    }
    let f = fixture();
    sh(
        f.temp.path(),
        "umoci init --layout img; umoci new --image img:t
         umoci unpack --image img:t b1; mkdir -p b1/rootfs/etc b1/rootfs/opt/d; echo 1 >b1/rootfs/etc/one; echo 2 >b1/rootfs/opt/d/two
         ln b1/rootfs/etc/one b1/rootfs/etc/again; umoci repack --image img:t b1
         umoci unpack --image img:t b2; rm -r b2/rootfs/opt/d; echo 3 >b2/rootfs/opt/d; rm b2/rootfs/etc/one; chmod 700 b2/rootfs/etc
         umoci repack --image img:t b2; umoci unpack --image img:t expected",
    );
    let read = |digest: &oci::Digest| std::fs::read(f.temp.path().join("img/blobs/sha256").join(digest.hex())).unwrap();
    let index: oci::image::Index =
        serde_json::from_slice(&std::fs::read(f.temp.path().join("img/index.json")).unwrap()).unwrap();
    let manifest: oci::image::Manifest = serde_json::from_slice(&read(&index.manifests[0].digest)).unwrap();
    let config: oci::image::ImageConfig = serde_json::from_slice(&read(&manifest.config.digest)).unwrap();
    let mut staged = Vec::new();
    for (descriptor, diff_id) in manifest.layers.iter().zip(&config.rootfs.diff_ids) {
        let spec = LayerSpec {
            descriptor: descriptor.clone(),
            diff_id: Some(diff_id.clone()),
            key: descriptor.digest.to_string(),
            snapshotter: "overlayfs".into(),
        };
        let mut sink = f.store.layer_sink(&spec).unwrap();
        sink.write(&read(&descriptor.digest)).unwrap();
        staged.push(sink.finish().unwrap());
    }
    let top = f.store.commit_chain("overlayfs", None, staged).unwrap();
    let s = f.store.snapshotter("overlayfs").unwrap();
    let root = mount(&s.view("v", Some(&top), Labels::new()).unwrap(), &f.dir("mnt"));
    let (mut found, mut expected) = (listing(&root.0), listing(&f.temp.path().join("expected/rootfs")));
    // umoci's own root directory has the time of its unpacking.
    found.remove("");
    expected.remove("");
    assert_same(&found, &expected);
}
