//! One suite of behaviour, run for both snapshotters.

mod support;

use oci::Kind;
use sampan_storage as storage;
use sampan_storage::{Labels, SnapshotKind, chain_id};
use std::collections::BTreeMap;
use std::path::Path;
use support::*;

const LOWEST: &str = r#"
mkdir -p a/sub b/gone c "d" etc/conf.d setgid sticky
echo one >a/one; echo two >a/two; echo sub >a/sub/file
echo gone >b/gone/x; echo kept >b/kept
echo file >turns-dir; mkdir turns-file; echo in >turns-file/in
echo conf >etc/conf.d/x; echo 0 >etc/passwd
ln a/one a/one-again; ln -s ../etc/passwd a/link; ln -s /nowhere dangling
mkfifo a/fifo; mknod a/null c 1 3; mknod a/loop b 7 0
echo su >su; chown 1000:1001 su; chmod 6755 su
chmod 2775 setgid; chgrp 50 setgid; echo x >setgid/inside; mkdir setgid/dir; chmod 1777 sticky
touch $'not-utf8-\xff\xfe'
long=$(printf 'l%.0s' {1..120}); mkdir -p $long/$long; echo long >$long/$long/file; ln -s $long/$long/file long-link
truncate -s 5M sparse; printf data | dd of=sparse bs=1 seek=3000000 conv=notrunc status=none
printf 'x%.0s' {1..300000} >large; : >empty; chmod 0 empty; chmod 666 b/kept; chmod 700 c
find . -mindepth 1 -exec touch -h -d '2001-02-03 04:05:06.789' {} +
touch -d 2002-01-01 . c; touch -d 1950-01-01 a/two
"#;

/// The second layer: what it brings, and how it changes the tree itself.
const SECOND: &str = r"
mkdir -p a turns-dir etc/conf.d; touch a/.wh.two b .wh.b; rm b; mkdir b; touch b/.wh.gone; rm .wh.b
echo new >turns-dir/new; echo now-a-file >turns-file; touch etc/conf.d/.wh..wh..opq; echo y >etc/conf.d/y
echo changed >etc/passwd; touch .wh.dangling .wh.never-was
find . -exec touch -h -d 2003-03-03 {} +";

const SECOND_EXPECTED: &str = r"
rm a/two; rm -r b/gone; rm turns-dir; mkdir turns-dir; echo new >turns-dir/new; rm -r turns-file; echo now-a-file >turns-file
rm etc/conf.d/x; echo y >etc/conf.d/y; echo changed >etc/passwd; rm dangling
touch -d 2003-03-03 . a b turns-dir turns-dir/new turns-file etc etc/conf.d etc/conf.d/y etc/passwd";

fn lowest(dir: &Path) {
    sh(dir, LOWEST);
    set_xattr(&dir.join("a/two"), "user.note", b"va\0lue=\n");
    set_xattr(&dir.join("c"), "user.dir", b"d");
    set_xattr(&dir.join("a/link"), "trusted.on-link", b"l");
    let capability = [1, 0, 0, 2, 0, 4, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];
    set_xattr(&dir.join("large"), "security.capability", &capability);
}

/// Layers of `native` share their files, which shows in a view.
fn without_links(listing: BTreeMap<String, String>) -> BTreeMap<String, String> {
    let cut = |line: String| line.split(' ').filter(|word| !word.starts_with("links=")).collect::<Vec<_>>().join(" ");
    listing.into_iter().map(|(path, line)| (path, cut(line))).collect()
}

fn compare(snapshotter: &str, formats: [&str; 2], packing: Packing) {
    let f = fixture();
    let snapshots = f.store.snapshotter(snapshotter).unwrap();
    let (one, two, three) = (f.dir("one"), f.dir("two"), f.dir("three"));
    let expected = f.dir("expected");
    lowest(&one);
    sh(&two, SECOND);
    lowest(&expected);
    sh(&expected, SECOND_EXPECTED);
    // The third has only a file; what its directory is like comes from below.
    sh(&three, "mkdir -p a/sub c; echo third >a/sub/third; echo c >c/c; touch -d 2004-04-04 a/sub/third c/c");
    sh(
        &expected,
        "cp -a ../three/a/sub/third a/sub/third; cp -a ../three/c/c c/c; touch -r ../one/a/sub a/sub; touch -r ../one/c c",
    );
    let tar = |dir: &Path, what: &str, format: &str| {
        let xattrs = if format.contains("pax") { "--xattrs --xattrs-include='*'" } else { "" };
        sh(dir, &format!("tar {xattrs} {format} -cf ../layer.tar {what}"));
        std::fs::read(dir.parent().unwrap().join("layer.tar")).unwrap()
    };
    let tars = [tar(&one, ".", formats[0]), tar(&two, ".", formats[1]), tar(&three, "a/sub/third ./c/c", formats[1])];
    let diff_ids: Vec<_> = tars.iter().map(|tar| storage::digest_of(tar)).collect();
    // Layers arrive in any order.
    let mut staged: Vec<_> =
        tars.iter().rev().map(|tar| receive(&f.store, tar, packing, snapshotter).unwrap()).collect();
    staged.reverse();
    assert_eq!(f.store.snapshotter(snapshotter).unwrap().walk().unwrap(), []);
    let top = f.store.commit_chain(snapshotter, None, staged).unwrap();
    assert_eq!(top, chain_id(&diff_ids).unwrap().to_string());
    assert_eq!(snapshots.walk().unwrap().len(), 3);

    let mounts = snapshots.prepare("container", Some(&top), Labels::new()).unwrap();
    {
        let root = mount(&mounts, &f.dir("mnt"));
        assert_same(&listing(&root.0), &listing(&expected));
        std::fs::write(root.0.join("written"), "x").unwrap();
        std::fs::write(root.0.join("large"), "changed").unwrap();
    }
    // What a container writes stays with it.
    let view = snapshots.view("view", Some(&top), Labels::new()).unwrap();
    {
        let root = mount(&view, &f.dir("view"));
        assert_same(&without_links(listing(&root.0)), &without_links(listing(&expected)));
        assert!(std::fs::write(root.0.join("written"), "x").is_err());
    }
    assert!(snapshots.usage("container").unwrap().inodes >= 2);
    let error = snapshots.remove(&top).unwrap_err();
    assert_eq!(error.kind(), Kind::Conflict);
    snapshots.remove("container").unwrap();
    snapshots.remove("view").unwrap();
    assert_eq!(snapshots.remove("view").unwrap_err().kind(), Kind::NotFound);

    // A second time nothing is added.
    let again = tars.iter().map(|tar| receive(&f.store, tar, packing, snapshotter).unwrap()).collect();
    assert_eq!(f.store.commit_chain(snapshotter, None, again).unwrap(), top);
    assert_eq!(snapshots.walk().unwrap().len(), 3);
    snapshots.cleanup().unwrap();
    assert_eq!(leftovers(&f.store), [""; 0]);
    let f = f.reopen();
    let snapshots = f.store.snapshotter(snapshotter).unwrap();
    let mounts = snapshots.prepare("later", Some(&top), Labels::new()).unwrap();
    let root = mount(&mounts, &f.dir("mnt"));
    assert_same(&listing(&root.0), &listing(&expected));
}

#[test]
fn overlayfs_layers_of_gnu_tar_with_gzip() {
    compare("overlayfs", ["--format=pax -S", "--format=gnu"], Packing::Gzip);
}

#[test]
fn overlayfs_layers_of_pax_with_zstd() {
    compare("overlayfs", ["--format=pax", "--format=ustar"], Packing::Zstd);
}

#[test]
fn native_layers_of_gnu_tar_with_gzip() {
    compare("native", ["--format=pax -S --sparse-version=0.1", "--format=gnu"], Packing::Gzip);
}

#[test]
fn native_layers_of_pax_uncompressed() {
    compare("native", ["--format=pax -S --sparse-version=0.0", "--format=pax"], Packing::None);
}

#[test]
fn gnus_own_sparse_format_and_base_256() {
    for snapshotter in ["overlayfs", "native"] {
        let f = fixture();
        let one = f.dir("one");
        sh(
            &one,
            "for i in $(seq 1 60); do printf x | dd of=sparse bs=1 seek=$((i*70000)) conv=notrunc status=none; done
             truncate -s 5000000 sparse; echo x >big-owner; chown 3000000:3000000 big-owner; touch -d '1960-01-01' sparse
             touch -d '2005-01-01' big-owner .",
        );
        sh(&one, "tar --format=gnu -S -cf ../layer.tar .");
        let tar = std::fs::read(f.temp.path().join("layer.tar")).unwrap();
        assert!(tar.len() < 1_000_000);
        let layer = receive(&f.store, &tar, Packing::None, snapshotter).unwrap();
        let top = f.store.commit_chain(snapshotter, None, vec![layer]).unwrap();
        let snapshots = f.store.snapshotter(snapshotter).unwrap();
        let root = mount(&snapshots.prepare("c", Some(&top), Labels::new()).unwrap(), &f.dir("mnt"));
        assert_same(&listing(&root.0), &listing(&one));
        let blocks = std::os::unix::fs::MetadataExt::blocks(&std::fs::metadata(root.0.join("sparse")).unwrap());
        assert!(blocks * 512 < 1_000_000, "holes were filled: {blocks} blocks");
    }
}

#[test]
fn the_life_of_a_snapshot() {
    for name in ["overlayfs", "native"] {
        let f = fixture();
        let s = f.store.snapshotter(name).unwrap();
        let labels = Labels::from([("k".to_owned(), "v".to_owned())]);
        let mounts = s.prepare("base", None, labels.clone()).unwrap();
        assert_eq!(s.mounts("base").unwrap(), mounts);
        std::fs::write(Path::new(&mounts[0].source).join("file"), "x").unwrap();
        assert_eq!(s.prepare("base", None, Labels::new()).unwrap_err().kind(), Kind::AlreadyExists);
        assert_eq!(s.prepare("c", Some("none"), Labels::new()).unwrap_err().kind(), Kind::NotFound);
        assert_eq!(s.prepare("c", Some("base"), Labels::new()).unwrap_err().kind(), Kind::Conflict);
        s.commit("layer", "base", labels.clone()).unwrap();
        assert_eq!(s.stat("base").unwrap_err().kind(), Kind::NotFound);
        let info = s.stat("layer").unwrap();
        assert_eq!((info.kind, &info.labels), (SnapshotKind::Committed, &labels));
        assert_eq!(s.mounts("layer").unwrap_err().kind(), Kind::Conflict);
        assert_eq!(s.commit("x", "layer", Labels::new()).unwrap_err().kind(), Kind::Conflict);
        let root = mount(&s.prepare("c", Some("layer"), Labels::new()).unwrap(), &f.dir("mnt"));
        assert_eq!(std::fs::read(root.0.join("file")).unwrap(), b"x");
        assert_eq!(s.commit("layer", "c", Labels::new()).unwrap_err().kind(), Kind::AlreadyExists);
        assert_eq!(s.remove("layer").unwrap_err().kind(), Kind::Conflict);
        drop(root);
        s.remove("c").unwrap();
        s.remove("layer").unwrap();
        s.cleanup().unwrap();
        assert_eq!(s.walk().unwrap(), []);
    }
    assert_eq!(fixture().store.snapshotter("btrfs").unwrap_err().kind(), Kind::InvalidArgument);
}
