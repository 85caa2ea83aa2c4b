//! Programs called along a container's life: when, where, with what, and what their failures do.

mod common;

use common::{Bench, bench, text};
use oci::runtime::{Hook, Hooks, IdMapping, Namespace};

/// A hook that runs a script.
fn hook(script: &str) -> Hook {
    Hook {
        path: "/bin/sh".into(),
        args: ["sh", "-c", script].map(String::from).into(),
        env: Some(vec!["PATH=/usr/bin:/bin".into()]),
        timeout: Some(30),
    }
}

/// A hook that appends to a file of the host.
fn noting(b: &Bench, script: &str) -> Hook {
    hook(&format!("({script}) >> {}", log(b).display()))
}

fn log(b: &Bench) -> std::path::PathBuf {
    b.directory.path().join("hooks")
}

fn noted(b: &Bench) -> String {
    std::fs::read_to_string(log(b)).unwrap_or_default()
}

type List = fn(&mut Hooks) -> &mut Vec<Hook>;

/// The kinds that can stop a container from running.
const STOPPING: [(&str, List); 5] = [
    ("prestart", |h| &mut h.prestart),
    ("createRuntime", |h| &mut h.create_runtime),
    ("createContainer", |h| &mut h.create_container),
    ("startContainer", |h| &mut h.start_container),
    ("poststart", |h| &mut h.poststart),
];

#[test]
fn hooks_run_in_order_and_place() {
    let Some(mut b) = bench() else { return };
    let note = |name: &str| {
        noting(&b, &format!("echo {name}; cat; echo; for n in net mnt; do readlink /proc/self/ns/$n; done; pwd"))
    };
    b.spec.hooks = Some(Hooks {
        prestart: vec![note("prestart")],
        create_runtime: vec![note("createRuntime"), noting(&b, "echo second")],
        create_container: vec![note("createContainer")],
        start_container: vec![hook("(cat; echo; readlink /proc/self/ns/net; pwd) > /tmp/start")],
        poststart: vec![note("poststart")],
        poststop: vec![note("poststop")],
    });
    b.spec.root.as_mut().expect("root").readonly = false;
    b.spec.annotations = [("a".to_owned(), "b".to_owned())].into();
    let out = b.started("cat /tmp/start; readlink /proc/self/ns/net; exec sleep 100").id.clone();
    let id = b.id.clone();
    assert_eq!(out, id);
    b.until("output", || std::fs::read_to_string(b.directory.path().join("out")).is_ok_and(|t| t.lines().count() == 4));
    let pid = b.pid();
    let bundle = b.bundle();
    let inner_net = std::fs::read_link(format!("/proc/{pid}/ns/net")).expect("ns").to_string_lossy().into_owned();
    b.ok(&["delete", "--force", &id]);
    let state = |status: &str, pid: &str| {
        let version = &b.spec.oci_version;
        format!(
            "{{\"ociVersion\":\"{version}\",\"id\":\"{id}\",\"status\":\"{status}\",{pid}\"bundle\":\"{}\",\"annotations\":{{\"a\":\"b\"}}}}",
            bundle.display()
        )
    };
    let outside = |pid: i32| format!("\"pid\":{pid},");
    let own = |n: &str| std::fs::read_link(format!("/proc/self/ns/{n}")).expect("ns").to_string_lossy().into_owned();
    let text = noted(&b);
    let lines: Vec<&str> = text.lines().filter(|l| *l != "second").collect();
    let bundle = bundle.to_string_lossy().into_owned();
    let rootfs = format!("{bundle}/rootfs");
    let expected = [
        ("prestart", state("creating", &outside(pid)), own("net"), &bundle),
        ("createRuntime", state("creating", &outside(pid)), own("net"), &bundle),
        // Inside, the process has the id that the container sees.
        ("createContainer", state("creating", &outside(1)), inner_net.clone(), &rootfs),
        ("poststart", state("running", &outside(pid)), own("net"), &bundle),
        ("poststop", state("stopped", ""), own("net"), &bundle),
    ];
    for (i, (name, state, net, directory)) in expected.iter().enumerate() {
        assert_eq!(lines[5 * i], *name, "{text}");
        assert_eq!(lines[5 * i + 1], state, "{name}");
        assert_eq!(lines[5 * i + 2], net, "{name}");
        assert_eq!(lines[5 * i + 3] == own("mnt"), *name != "createContainer", "{name}");
        assert_eq!(lines[5 * i + 4], *directory, "{name}");
    }
    assert!(text.find("second") < text.find("createContainer"), "one kind after the other: {text}");
    let started = std::fs::read_to_string(b.directory.path().join("out")).expect("out");
    let lines: Vec<&str> = started.lines().collect();
    assert_eq!(lines, [state("created", &outside(1)).as_str(), &inner_net, "/", &inner_net]);
    b.assert_nothing_left();
}

#[test]
fn hooks_of_a_user_namespace_run_as_its_root() {
    let Some(mut b) = bench() else { return };
    b.linux().namespaces.push(Namespace { kind: "user".into(), path: None });
    b.linux().uid_mappings = vec![IdMapping { container_id: 0, host_id: 100_000, size: 10 }];
    b.linux().gid_mappings = b.linux().uid_mappings.clone();
    b.spec.hooks = Some(Hooks {
        create_runtime: vec![noting(&b, "id -u; readlink /proc/self/ns/user")],
        create_container: vec![hook("echo $(id -u) $(cat /proc/self/uid_map) >&2; exit 5")],
        ..Default::default()
    });
    b.script("true");
    let error = b.failure();
    assert!(error.contains("exit status 5, stdout: , stderr: 0 0 100000 10"), "{error}");
    let own = std::fs::read_link("/proc/self/ns/user").expect("ns").to_string_lossy().into_owned();
    assert_eq!(noted(&b), format!("0\n{own}\n"));
}

#[test]
fn a_hook_without_an_environment_gets_that_of_its_place() {
    let Some(mut b) = bench() else { return };
    let plain = |script: &str| Hook { env: None, ..hook(script) };
    b.process().env = vec!["PATH=/bin".into(), "INSIDE=yes".into()];
    let show = "echo $SAMPAN_TEST_OUTSIDE-$INSIDE";
    b.spec.hooks = Some(Hooks {
        create_runtime: vec![plain(&format!("{show} >> {}", log(&b).display()))],
        create_container: vec![plain(&format!("{show} >> {}", log(&b).display()))],
        start_container: vec![plain(&format!("{show} > /tmp/start"))],
        ..Default::default()
    });
    b.spec.root.as_mut().expect("root").readonly = false;
    b.script("cat /tmp/start");
    std::fs::write(b.bundle().join("config.json"), serde_json::to_vec(&b.spec).expect("JSON")).expect("config");
    let bundle = b.bundle();
    let output = b
        .command(&["run", "--bundle", bundle.to_str().expect("path"), &b.id])
        .env("SAMPAN_TEST_OUTSIDE", "host")
        .output()
        .expect("run");
    assert_eq!(text(&output), "-yes\n", "{output:?}");
    assert_eq!(noted(&b), "host-\n-yes\n");
}

#[test]
fn a_failing_hook_stops_everything() {
    let Some(mut b) = bench() else { return };
    for (kind, list) in STOPPING {
        let mut hooks = Hooks { poststop: vec![noting(&b, "echo poststop")], ..Default::default() };
        list(&mut hooks).extend([hook("true"), hook("echo out; echo why >&2; exit 3"), noting(&b, "echo not me")]);
        b.spec.hooks = Some(hooks);
        b.script("exec sleep 100");
        let error = b.failure();
        let words = format!("error running {kind} hook #1: error running hook: exit status 3, stdout: out\n");
        assert!(error.replace("\\n", "\n").contains(&words), "{kind}: {error}");
        assert_eq!(noted(&b), "poststop\n", "{kind}: as after a delete, and no hook after the failed one");
        std::fs::remove_file(log(&b)).expect("remove");
    }
}

#[test]
fn a_failing_hook_stops_a_create() {
    let Some(mut b) = bench() else { return };
    for (kind, list) in &STOPPING[..3] {
        let mut hooks = Hooks::default();
        list(&mut hooks).extend([hook("true"), hook("false")]);
        b.spec.hooks = Some(hooks);
        b.script("true");
        let created = b.create();
        let error = String::from_utf8_lossy(&created.stderr).into_owned();
        assert!(!created.status.success() && error.contains(&format!("error running {kind} hook #1:")), "{error}");
        b.assert_nothing_left();
    }
}

#[test]
fn start_tells_of_its_hooks() {
    let Some(mut b) = bench() else { return };
    let id = b.id.clone();
    for (kind, list) in &STOPPING[3..] {
        let mut hooks = Hooks { poststop: vec![noting(&b, "echo poststop")], ..Default::default() };
        list(&mut hooks).extend([hook("true"), hook("exit 3")]);
        b.spec.hooks = Some(hooks);
        b.script("exec sleep 100");
        assert!(b.create().status.success());
        let error = b.refused(&["start", &id]);
        assert!(error.contains(&format!("error running {kind} hook #1: error running hook: exit status 3")), "{error}");
        assert!(b.refused(&["state", &id]).contains("does not exist"));
        assert_eq!(noted(&b), "poststop\n", "{kind}");
        std::fs::remove_file(log(&b)).expect("remove");
        b.assert_nothing_left();
    }
    // And of none when all is well, with the program running by then.
    b.spec.hooks = Some(Hooks { start_container: vec![hook("sleep 0.2")], ..Default::default() });
    b.started("exec sleep 100");
    let program = std::fs::read_to_string(format!("/proc/{}/comm", b.pid())).expect("comm");
    assert!(matches!(program.trim(), "sh" | "sleep"), "{program}");
    let state: Vec<_> =
        std::fs::read_dir(b.state_root().join(&id)).expect("state").flatten().map(|e| e.file_name()).collect();
    assert!(!state.iter().any(|n| n == "start.fifo"), "{state:?}");
}

#[test]
fn hooks_after_the_end_cannot_stop_it() {
    let Some(mut b) = bench() else { return };
    b.spec.hooks =
        Some(Hooks { poststop: vec![hook("echo why >&2; exit 3"), noting(&b, "echo second")], ..Default::default() });
    let output = b.script("exit 7").run();
    assert_eq!(output.status.code(), Some(7));
    let log = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(log.contains("level=warning") && log.contains("error running poststop hook #0:"), "{log}");
    assert!(log.contains("poststop hook failed with exit code 3"), "{log}");
    assert_eq!(noted(&b), "second\n");
    b.assert_nothing_left();
    b.started("exec sleep 100");
    let id = b.id.clone();
    b.ok(&["delete", "--force", &id]);
    assert_eq!(noted(&b), "second\nsecond\n");
    b.assert_nothing_left();
}

#[test]
fn a_hook_is_killed_when_its_time_is_over() {
    let Some(mut b) = bench() else { return };
    for (kind, list) in STOPPING {
        let mut hooks = Hooks::default();
        *list(&mut hooks) = vec![Hook { timeout: Some(1), ..hook("exec sleep 60") }];
        b.spec.hooks = Some(hooks);
        b.script("exec sleep 100");
        let error = b.failure();
        let words = format!("error running {kind} hook #0: hook ran past specified timeout of 1.0s");
        assert!(error.contains(&words), "{error}");
    }
}

#[test]
fn wrong_hooks_are_refused_before_anything_is_made() {
    let Some(mut b) = bench() else { return };
    b.script("true");
    let cases = [
        (Hook { path: "bin/true".into(), ..hook("") }, "hooks.poststop[1].path: \"bin/true\" must be an absolute path"),
        (Hook { timeout: Some(0), ..hook("") }, "hooks.poststop[1].timeout: 0 must be more than 0 seconds"),
        (Hook { env: Some(vec!["A".into()]), ..hook("") }, "hooks.poststop[1].env: \"A\" is not NAME=value"),
    ];
    for (wrong, words) in cases {
        let first = noting(&b, "echo called");
        b.spec.hooks = Some(Hooks { prestart: vec![first], poststop: vec![hook("true"), wrong], ..Default::default() });
        let error = b.failure();
        assert!(error.contains(words), "{error}");
        assert_eq!(noted(&b), "");
    }
    b.spec.hooks =
        Some(Hooks { prestart: vec![Hook { path: "/no/such".into(), ..Default::default() }], ..Default::default() });
    let error = b.failure();
    assert!(error.contains("error running prestart hook #0: fork/exec /no/such: no such file or directory"), "{error}");
}

#[test]
fn hooks_know_the_bundle_by_the_callers_path() {
    let Some(mut b) = bench() else { return };
    let link = b.directory.path().join("link");
    std::os::unix::fs::symlink(b.bundle(), &link).expect("link");
    b.spec.hooks = Some(Hooks {
        create_runtime: vec![noting(&b, "cat; echo")],
        poststop: vec![noting(&b, "cat; echo")],
        ..Default::default()
    });
    b.script("true");
    std::fs::write(b.bundle().join("config.json"), serde_json::to_vec(&b.spec).expect("JSON")).expect("config");
    let output = b.call(&["run", "--bundle", link.to_str().expect("path"), &b.id]);
    assert!(output.status.success(), "{output:?}");
    let shown = format!("\"bundle\":\"{}\"", link.display());
    assert_eq!(noted(&b).matches(&shown).count(), 2, "{}", noted(&b));
}
