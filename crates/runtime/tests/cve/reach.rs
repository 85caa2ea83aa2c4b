//! What a process inside can reach of the runtime's: its program, and the processes that it adds.

use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};

use crate::common::{Bench, RUNTIME, bench};
use crate::{all_capabilities, attacker, victim};

fn output(b: &Bench) -> String {
    fs::read_to_string(b.directory.path().join("out")).unwrap_or_default()
}

/// A container that attacks, with every capability there is.
fn attacking(b: &mut Bench, attack: &str, argument: &str) {
    attacker::bring(b);
    all_capabilities(b);
    b.spec.root.as_mut().expect("root").readonly = false;
    let words = attacker::words(attack, argument);
    b.started(&format!("{words} & wait; exec sleep 100"));
    b.until("the attack", || output(b).contains("running 1 test"));
}

/// CVE-2019-5736, CVE-2020-14298: the runtime is made to execute itself inside, and is overwritten there.
#[test]
fn the_program_cannot_be_made_writable() {
    let Some(mut b) = bench() else { return };
    let copy = b.directory.path().join("runtime-copy");
    fs::copy(RUNTIME, &copy).expect("copy");
    b.runtime = copy.clone();
    let before = fs::read(&copy).expect("read");
    symlink("/proc/self/exe", b.rootfs().join("bin/evil")).expect("link");
    fs::write(b.rootfs().join("bin/script"), "#!/proc/self/exe\n").expect("write");
    fs::set_permissions(b.rootfs().join("bin/script"), fs::Permissions::from_mode(0o755)).expect("chmod");
    attacking(&mut b, "overwrite", "");
    let id = b.id.clone();
    for i in 0..100 {
        // The runtime's own program, with arguments that keep it busy for a moment.
        b.call(&["exec", &id, if i % 2 == 0 { "/bin/evil" } else { "/bin/script" }, "--version"]);
    }
    b.until("the attack", || output(&b).contains("tried"));
    let out = output(&b);
    assert!(!out.contains("written"), "{out}");
    assert_eq!(fs::read(&copy).expect("read"), before);
    // Nor can it be changed where it is known by its path.
    assert!(b.call(&["--version"]).status.success());
}

/// CVE-2016-9962, CVE-2020-14300: a process that is being added still has the host's handles and root.
#[test]
fn added_processes_show_nothing_of_the_host() {
    let Some(mut b) = bench() else { return };
    let secret = victim(&b).join("secret");
    attacking(&mut b, "look", secret.to_str().expect("path"));
    let id = b.id.clone();
    let pid_file = b.directory.path().join("pid");
    for _ in 0..100 {
        b.ok(&["exec", "--pid-file", pid_file.to_str().expect("path"), &id, "true"]);
    }
    b.until("the attack", || output(&b).contains("seen"));
    let out = output(&b);
    assert!(!out.contains("found"), "{out}");
}

/// CVE-2016-9962: a container that joins another one's PID namespace is in sight of it while it is made. Who may trace
/// anything in the host's user namespace is root of the machine; so this attacker may not.
#[test]
fn containers_in_the_making_show_nothing_of_the_host() {
    let Some(mut first) = bench() else { return };
    let secret = victim(&first).join("secret");
    attacker::bring(&mut first);
    first.spec.root.as_mut().expect("root").readonly = false;
    let words = attacker::words("look", secret.to_str().expect("path"));
    first.started(&format!("{words} & wait; exec sleep 100"));
    first.until("the attack", || output(&first).contains("running 1 test"));
    let Some(mut second) = bench() else { return };
    let path = format!("/proc/{}/ns/pid", first.pid());
    second.linux().namespaces.iter_mut().find(|n| n.kind == "pid").expect("pid").path = Some(path.into());
    for _ in 0..40 {
        second.output("true");
    }
    // The moment between create and start lasts as long as the caller likes.
    second.script("exec sleep 100");
    assert!(second.create().status.success());
    // Another container's root, with the same rights, may not even look at its handles: it is not dumpable.
    let script = "for p in /proc/[0-9]*; do grep -q 'cr[e]ate' $p/cmdline || continue; \
                  for f in cwd root exe fd/0; do readlink $p/$f || echo denied; done; done";
    assert_eq!(first.ok(&["exec", &first.id, "sh", "-c", script]), "denied\n".repeat(4));
    first.until("the attack", || output(&first).contains("seen"));
    std::thread::sleep(std::time::Duration::from_millis(300));
    let out = output(&first);
    assert!(!out.contains("found"), "{out}");
}
