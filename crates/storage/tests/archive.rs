//! cp, export, diff: tar streams of root filesystems, read and written by GNU tar on the other side.

mod support;

use oci::Kind;
use sampan_storage as storage;
use std::fs::File;
use std::path::Path;
use storage::archive::{TarIn, export, open_rootfs, stat_in_root, tar_in, tar_out};
use storage::{ChangeKind, Labels};
use support::*;

const TREE: &str = r#"
mkdir -p etc/sub var/empty; echo pw >etc/passwd; echo s >etc/sub/s; ln etc/passwd etc/passwd-link
ln -s /etc/passwd abs; ln -s ../../../../etc rel; ln -s nowhere dangling; ln -s /etc etcdir
mkfifo fifo; mknod null c 1 3; chmod 4755 etc/sub/s; chown 12:34 etc/passwd
long=$(printf 'l%.0s' {1..200}); echo l >$long; printf 'b%.0s' {1..400000} >big; touch $'na\xffme'
find . -exec touch -h -d 2001-01-01T00:00:00.25 {} +"#;

fn names(tar: &[u8]) -> Vec<String> {
    let temp = tempfile::tempdir().unwrap();
    std::fs::write(temp.path().join("t"), tar).unwrap();
    sh(temp.path(), "tar -Ptf t").lines().map(str::to_owned).collect()
}

fn out(root: &Path, path: &str) -> Vec<u8> {
    let mut tar = Vec::new();
    tar_out(File::open(root).unwrap(), path, &mut tar).unwrap();
    tar
}

#[test]
fn export_is_what_gnu_tar_unpacks() {
    let temp = tempfile::tempdir().unwrap();
    let root = temp.path().join("root");
    std::fs::create_dir(&root).unwrap();
    sh(&root, TREE);
    set_xattr(&root.join("big"), "user.x", b"1");
    let mut tar = Vec::new();
    export(File::open(&root).unwrap(), &mut tar).unwrap();
    std::fs::write(temp.path().join("t"), &tar).unwrap();
    sh(temp.path(), "mkdir back; cd back; tar --xattrs --xattrs-include='*' -xpf ../t; touch -r ../root .");
    assert_same(&listing(&temp.path().join("back")), &listing(&root));
    assert!(!names(&tar).iter().any(|name| name.starts_with('.') || name.starts_with('/')));

    // And our own reader makes the same of it.
    let again = temp.path().join("again");
    std::fs::create_dir(&again).unwrap();
    tar_in(File::open(&again).unwrap(), "/", TarIn::default(), tar.as_slice()).unwrap();
    sh(temp.path(), "touch -r root again");
    assert_same(&listing(&again), &listing(&root));
}

#[test]
fn names_in_the_archive_are_dockers() {
    let temp = tempfile::tempdir().unwrap();
    sh(temp.path(), TREE);
    let root = temp.path();
    assert_eq!(names(&out(root, "/etc")), ["etc/", "etc/passwd", "etc/passwd-link", "etc/sub/", "etc/sub/s"]);
    assert_eq!(names(&out(root, "etc/.")), ["./", "./passwd", "./passwd-link", "./sub/", "./sub/s"]);
    assert_eq!(names(&out(root, "/etcdir/"))[0], "etcdir/");
    assert_eq!(names(&out(root, "/etcdir")), ["etcdir"]);
    assert_eq!(names(&out(root, "/etcdir/passwd")), ["passwd"]);
    assert_eq!(names(&out(root, "/rel/sub/s")), ["s"]);
    let all = names(&out(root, "/"));
    assert!(all.iter().all(|name| name.starts_with('/')) && all.contains(&"/etc/passwd".to_owned()), "{all:?}");
    for missing in ["/none", "/etc/passwd/x", "/dangling/"] {
        let error = tar_out(File::open(root).unwrap(), missing, Vec::new()).unwrap_err();
        assert_eq!(error.kind(), Kind::NotFound, "{missing}");
        assert_eq!(error.to_string(), format!("Could not find the file {missing} in the container"));
    }
}

#[test]
fn stat_tells_what_cp_asks() {
    let temp = tempfile::tempdir().unwrap();
    sh(temp.path(), TREE);
    let stat = |path: &str| stat_in_root(File::open(temp.path()).unwrap(), path).unwrap();
    let passwd = stat("/etc/passwd");
    assert_eq!((passwd.name.as_str(), passwd.size, passwd.mode), ("passwd", 3, 0o644));
    assert_eq!(passwd.mtime.to_string(), "2001-01-01T00:00:00.25Z");
    assert_eq!(stat("/").name, "/");
    assert_eq!(stat("/etc/.").name, ".");
    assert_eq!(stat("/abs").link_target, "/etc/passwd");
    assert_eq!(stat("/rel").link_target, "/etc");
    assert_eq!(stat("/dangling").link_target, "/nowhere");
    assert_eq!(stat("/etcdir/").mode >> 31, 1);
    assert_eq!(stat("/rel/sub/s").mode, 0x0080_0000 | 0o755);
}

#[test]
fn what_is_copied_in_follows_links_inside_only() {
    let temp = tempfile::tempdir().unwrap();
    let root = temp.path().join("root");
    std::fs::create_dir_all(root.join("dst")).unwrap();
    std::fs::create_dir_all(temp.path().join("dst2")).unwrap();
    sh(
        &root,
        "mkdir inside; ln -s /inside dst/abs; ln -s ../../../../inside dst/up; ln -s ../inside top; touch outside",
    );
    sh(temp.path(), "mkdir -p src/abs src/up; echo 1 >src/abs/one; echo 2 >src/up/two; chmod 6711 src/abs/one");
    sh(temp.path(), "tar -C src -cf t abs/one up/two");
    let handle = || File::open(&root).unwrap();
    tar_in(handle(), "/dst", TarIn::default(), File::open(temp.path().join("t")).unwrap()).unwrap();
    assert_eq!(std::fs::read(root.join("inside/one")).unwrap(), b"1\n");
    assert_eq!(std::fs::read(root.join("inside/two")).unwrap(), b"2\n");
    assert!(root.join("dst/abs").is_symlink());
    let mode = std::os::unix::fs::MetadataExt::mode(&std::fs::metadata(root.join("inside/one")).unwrap());
    assert_eq!(mode & 0o7777, 0o6711);

    let owner = TarIn { owner: Some((5, 6)), ..TarIn::default() };
    let gzip = pack(&std::fs::read(temp.path().join("t")).unwrap(), Packing::Gzip).0;
    tar_in(handle(), "/top", owner, gzip.as_slice()).unwrap();
    let meta = std::fs::metadata(root.join("inside/abs/one")).unwrap();
    assert_eq!(std::os::unix::fs::MetadataExt::uid(&meta), 5);

    // Kinds: a directory is not to take a file's place, nor a file a directory's.
    sh(
        temp.path(),
        "mkdir -p kinds; echo x >kinds/dst; tar -C kinds -cf k dst; mkdir kinds2 kinds2/outside; tar -C kinds2 -cf k2 outside",
    );
    let keep = TarIn { keep_kinds: true, ..TarIn::default() };
    for (tar, words) in [
        ("k", "cannot overwrite directory with non-directory"),
        ("k2", "cannot overwrite non-directory with directory"),
    ] {
        let error = tar_in(handle(), "/", keep, File::open(temp.path().join(tar)).unwrap()).unwrap_err();
        assert!(error.to_string().contains(words), "{error}");
    }
    tar_in(handle(), "/", TarIn::default(), File::open(temp.path().join("k")).unwrap()).unwrap();
    assert!(root.join("dst").is_file());
    let error = tar_in(handle(), "/outside", TarIn::default(), std::io::empty()).unwrap_err();
    assert!(error.to_string().contains("not a directory"), "{error}");
    assert_eq!(tar_in(handle(), "/none", TarIn::default(), std::io::empty()).unwrap_err().kind(), Kind::NotFound);
    sh(temp.path(), "mkdir e; echo x >e/f; tar -P -C e --transform 's,f,../f,' -cf esc f");
    let error =
        tar_in(handle(), "/inside", TarIn::default(), File::open(temp.path().join("esc")).unwrap()).unwrap_err();
    assert!(error.to_string().contains("../f"), "{error}");
}

#[test]
fn changes_and_the_layer_made_of_them() {
    for name in ["overlayfs", "native"] {
        let f = fixture();
        let s = f.store.snapshotter(name).unwrap();
        let (one, two) = (f.dir("one"), f.dir("two"));
        sh(
            &one,
            "mkdir -p a/b gone keep opaque/in; echo 1 >a/b/f; echo 2 >a/g; echo x >gone/x; echo k >keep/k; echo o >opaque/o; ln -s a link",
        );
        sh(&two, "mkdir -p a; touch a/.wh.g; echo two >two; echo later >a/later");
        let mut layers = Vec::new();
        for dir in [&one, &two] {
            sh(dir, "tar -cf ../t *");
            layers.push(
                receive(&f.store, &std::fs::read(f.temp.path().join("t")).unwrap(), Packing::Gzip, name).unwrap(),
            );
        }
        let top = f.store.commit_chain(name, None, layers).unwrap();
        let mounts = s.prepare("c", Some(&top), Labels::new()).unwrap();
        assert_eq!(f.store.changes(name, "c").unwrap(), []);
        let root = mount(&mounts, &f.dir("mnt"));
        sh(
            &root.0,
            "echo changed >a/b/f; rm -r gone; echo new >keep/new; rm a/later; rm -r opaque; mkdir opaque; echo g >a/g; mkdir -p n/m; rm two; ln -s x two",
        );
        let found = f.store.changes(name, "c").unwrap();
        let lines: Vec<String> = found
            .iter()
            .map(|change| {
                let kind = match change.kind {
                    ChangeKind::Modified => 'C',
                    ChangeKind::Added => 'A',
                    ChangeKind::Deleted => 'D',
                };
                format!("{kind} {}", String::from_utf8_lossy(&change.path))
            })
            .collect();
        assert_eq!(
            lines,
            [
                "C /a",
                "C /a/b",
                "C /a/b/f",
                "A /a/g",
                "D /a/later",
                "D /gone",
                "C /keep",
                "A /keep/new",
                "A /n",
                "A /n/m",
                "C /opaque",
                "D /opaque/in",
                "D /opaque/o",
                "C /two"
            ],
            "{name}"
        );
        // The layer, put on the same parent, shows the same root filesystem.
        let mut tar = Vec::new();
        let diff_id = f.store.diff(name, "c", &mut tar).unwrap();
        assert_eq!(diff_id, storage::digest_of(&tar));
        let staged = receive(&f.store, &tar, Packing::Zstd, name).unwrap();
        let committed = f.store.commit_chain(name, Some(&top), vec![staged]).unwrap();
        let again = mount(&s.prepare("d", Some(&committed), Labels::new()).unwrap(), &f.dir("mnt2"));
        let (mut found, mut expected) = (listing(&again.0), listing(&root.0));
        // The root itself is in no list of changes.
        found.remove("");
        expected.remove("");
        assert_same(&found, &expected);
    }
}

#[test]
fn a_root_filesystem_opens_without_a_mount_in_any_table() {
    for name in ["overlayfs", "native"] {
        let f = fixture();
        let s = f.store.snapshotter(name).unwrap();
        let layers = (0..12)
            .map(|n| {
                let dir = f.dir(&format!("layer{n}"));
                sh(&dir, &format!("echo {n} >file{n}; echo {n} >last; tar -cf ../t *"));
                receive(&f.store, &std::fs::read(f.temp.path().join("t")).unwrap(), Packing::None, name).unwrap()
            })
            .collect();
        let top = f.store.commit_chain(name, None, layers).unwrap();
        let mounts = s.prepare("c", Some(&top), Labels::new()).unwrap();
        let before = std::fs::read_to_string("/proc/self/mountinfo").unwrap();
        let rw = open_rootfs(&mounts, false).unwrap();
        tar_in(&rw, "/", TarIn::default(), out(&f.dir("layer3"), "/file3").as_slice()).unwrap();
        let mut tar = Vec::new();
        let ro = open_rootfs(&mounts, true).unwrap();
        export(&ro, &mut tar).unwrap();
        assert_eq!(names(&tar).len(), 13, "{:?}", names(&tar));
        assert_eq!(stat_in_root(&ro, "last").unwrap().size, 3);
        assert_eq!(std::fs::read_to_string("/proc/self/mountinfo").unwrap(), before);
        drop((rw, ro));
        s.remove("c").unwrap();
    }
}
