//! Ids, state directories and bundles that are not what they seem.

use std::fs;
use std::os::unix::fs::symlink;
use std::process::Stdio;

use crate::common::bench;
use crate::{assert_untouched, victim};

#[test]
fn ids_lead_nowhere() {
    let Some(b) = bench() else { return };
    let victim = victim(&b);
    b.write_config();
    fs::create_dir_all(b.state_root()).expect("mkdir");
    let bundle = b.bundle();
    let bundle = bundle.to_str().expect("path");
    let long = "x".repeat(2000);
    for id in ["..", ".", "../victim", "a/b", "/etc", "", "a b", "a\nb", "ä", &long] {
        for words in [
            &["create", "--bundle", bundle, id][..],
            &["run", "--bundle", bundle, id],
            &["state", id],
            &["start", id],
            &["kill", id, "KILL"],
            &["delete", "--force", id],
            &["exec", id, "true"],
            &["ps", id],
            &["pause", id],
            &["update", "--pids-limit", "5", id],
        ] {
            b.refused(words);
        }
    }
    assert_untouched(&victim);
    assert_eq!(fs::read_dir(b.state_root()).expect("state").count(), 0);
}

/// Who could write to the state directory could also write the state; but what is no directory of ours is not emptied.
#[test]
fn a_link_in_the_state_directory_is_no_container() {
    let Some(b) = bench() else { return };
    let victim = victim(&b);
    fs::write(victim.join("state.json"), "the host's\n").expect("write");
    fs::create_dir_all(b.state_root()).expect("mkdir");
    symlink(&victim, b.state_root().join(&b.id)).expect("link");
    b.write_config();
    let bundle = b.bundle();
    assert!(b.refused(&["create", "--bundle", bundle.to_str().expect("path"), &b.id]).contains("exists"));
    for words in [&["delete", &b.id][..], &["delete", "--force", &b.id], &["start", &b.id], &["pause", &b.id]] {
        let _ = b.call(words);
    }
    assert_eq!(fs::read_to_string(victim.join("state.json")).expect("kept"), "the host's\n");
    fs::remove_file(victim.join("state.json")).expect("remove");
    assert_untouched(&victim);
    fs::remove_file(b.state_root().join(&b.id)).expect("remove");
}

#[test]
fn links_to_the_bundle_and_the_state_are_followed() {
    let Some(mut b) = bench() else { return };
    b.script("echo ran").write_config();
    let bundle = b.directory.path().join("link");
    symlink(b.bundle(), &bundle).expect("link");
    let real = b.directory.path().join("elsewhere");
    fs::create_dir(&real).expect("mkdir");
    symlink(&real, b.state_root()).expect("link");
    let out = b.ok(&["run", "--bundle", bundle.to_str().expect("path"), &b.id]);
    assert_eq!(out, "ran\n");
    b.assert_nothing_left();
    // The rootfs may be a link as well, and is what it leads to.
    fs::rename(b.rootfs(), b.directory.path().join("image")).expect("rename");
    symlink("../image", b.rootfs()).expect("link");
    assert_eq!(b.ok(&["run", "--bundle", bundle.to_str().expect("path"), &b.id]), "ran\n");
    fs::remove_file(b.rootfs()).expect("remove");
    symlink("/", b.rootfs()).expect("link");
    let error = b.refused(&["run", "--bundle", bundle.to_str().expect("path"), &b.id]);
    assert!(error.contains("root.path"), "{error}");
}

/// A configuration that never ends, never begins, or is none.
#[test]
fn a_strange_configuration_delays_nobody() {
    let Some(b) = bench() else { return };
    let config = b.bundle().join("config.json");
    let bundle = b.bundle();
    let run = || b.refused(&["run", "--bundle", bundle.to_str().expect("path"), &b.id]);
    let _ = fs::remove_file(&config);
    assert!(run().contains("not found"));
    let fifo = rustix::fs::FileType::Fifo;
    rustix::fs::mknodat(rustix::fs::CWD, &config, fifo, rustix::fs::Mode::from_raw_mode(0o644), 0).expect("fifo");
    assert!(run().contains("config.json"));
    fs::remove_file(&config).expect("remove");
    symlink("/dev/zero", &config).expect("link");
    assert!(run().contains("larger than"));
    fs::remove_file(&config).expect("remove");
    fs::create_dir(&config).expect("mkdir");
    assert!(run().contains("config.json"));
    fs::remove_dir(&config).expect("rmdir");
    // Nested deeper than any configuration is.
    fs::write(&config, "[".repeat(100_000)).expect("write");
    assert!(run().contains("config.json"));
    b.assert_nothing_left();
    let mut command = b.command(&["exec", "--process", "/dev/zero", &b.id]);
    assert!(!command.stdout(Stdio::null()).stderr(Stdio::null()).status().expect("exec").success());
}
