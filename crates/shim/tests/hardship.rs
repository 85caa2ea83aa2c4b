//! What goes wrong around a shim: it is killed, nobody reads, somebody talks nonsense.

mod support;

use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use support::{Place, collect};
use wire::ttrpc;

fn kill(pid: u32) {
    let pid = rustix::process::Pid::from_raw(pid as i32).unwrap();
    rustix::process::kill_process(pid, rustix::process::Signal::KILL).unwrap();
}

#[test]
fn a_killed_shim_is_cleaned_up_after() {
    Place::each(|place| async move {
        let task = place.container("orphan", "sleep 1000").create().await;
        task.start().await;
        let pid = task.client.state(&task.id, "").await.unwrap().pid;
        kill(task.shim_pid);
        assert!(task.client.wait(&task.id, "").await.is_err());
        let ended = task.launch.delete().await.unwrap();
        assert_eq!((ended.status, ended.pid), (137, pid));
        assert!(std::fs::read_dir(task.bundle.join("rootfs")).unwrap().next().is_none(), "the root is unmounted");
        let alive = std::fs::read_to_string(format!("/proc/{pid}/stat")).is_ok_and(|s| !s.contains(") Z "));
        assert!(!alive, "the container is gone");
        // Once more finds nothing to do, and says the same.
        assert_eq!(task.launch.delete().await.unwrap().at, ended.at);
        // The same place serves a new container.
        let again = task.launch.start().await.unwrap();
        assert!(again.state(&task.id, "").await.is_err());
        again.shutdown(&task.id).await.unwrap();
    });
}

#[test]
fn an_exit_that_was_kept_outlives_the_shim() {
    Place::each(|place| async move {
        let task = place.container("kept", "exit 9").create().await;
        task.start().await;
        assert_eq!(task.wait().await, 9);
        kill(task.shim_pid);
        assert_eq!(task.launch.delete().await.unwrap().status, 9);
    });
}

#[test]
fn a_client_comes_back() {
    Place::each(|place| async move {
        let task = place.container("back", "cat; exit 2").stdin().create().await;
        task.start().await;
        let address = task.client.address().to_owned();
        let (id, bundle) = (task.id.clone(), task.bundle.clone());
        drop(task);
        // Found by its address, and by starting it once more.
        let client = shim::client::ShimClient::connect(&address).await.unwrap();
        assert_eq!(std::fs::read_to_string(bundle.join("address")).unwrap(), address);
        client.close_io(&id, "").await.unwrap();
        assert_eq!(client.wait(&id, "").await.unwrap().status, 2);
        client.delete(&id, "").await.unwrap();
        client.shutdown(&id).await.unwrap();
    });
}

#[test]
fn a_flood_is_logged_whole_and_rotated() {
    Place::each(|place| async move {
        let script = "head -c 3000000 /proc/self/environ >/dev/null; seq 1 200000; exit 0";
        let task = place.container("flood", script).log_limits(1 << 20, 50).create().await;
        task.start().await;
        assert_eq!(task.wait().await, 0);
        let logged = task.logged();
        let mut lines = logged.lines();
        for number in 1..=200_000 {
            assert_eq!(lines.next().and_then(|l| l.parse().ok()), Some(number));
        }
        assert!(task.bundle.join("c.log.1").exists(), "it was rotated");
        task.delete().await;
    });
}

#[test]
fn a_client_that_reads_nothing_stops_nobody() {
    Place::each(|place| async move {
        let task = place.container("stalled", "seq 1 300000; exit 0").create().await;
        let lazy = task.attach("", false).await;
        let mut busy = task.attach("", false).await;
        task.start().await;
        let (out, _) = collect(&mut busy.output).await;
        assert!(out.ends_with(b"\n300000\n"), "the one that reads gets everything");
        assert_eq!(task.wait().await, 0);
        drop(lazy);
        task.delete().await;
    });
}

#[test]
fn a_full_disk_stops_nobody() {
    Place::each(|place| async move {
        let mut builder = place.container("full", "seq 1 100000; exit 0");
        // Every write to it fails as on a full disk.
        builder.log =
            Some(shim::logs::json_file::Options { path: "/dev/full".into(), max_size: None, max_file: 1, attrs: None });
        let task = builder.create().await;
        task.start().await;
        assert_eq!(task.wait().await, 0);
        task.delete().await;
    });
}

#[test]
fn a_runtime_that_hangs_holds_nobody_up() {
    Place::each(|place| async move {
        let good = place.container("good", "sleep 1000").pod("p").create().await;
        good.start().await;
        let slow = place.root.join("slow-runtime");
        std::fs::write(&slow, "#!/bin/sh\nexec sleep 5\n").unwrap();
        std::fs::set_permissions(&slow, std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
        let stuck = std::sync::Arc::new(Place::new(&slow));
        let mut builder = stuck.container("stuck", "true");
        builder.annotations = serde_json::json!({});
        let creating = tokio::spawn(async move { builder.try_create().await.1 });
        good.client.kill(&good.id, "", 9, false).await.unwrap();
        assert_eq!(good.wait().await, 137);
        good.delete().await;
        // It ends well without having made anything, which is an error, too.
        assert!(creating.await.unwrap().is_err());
    });
}

#[test]
fn nonsense_is_survived() {
    Place::each(|place| async move {
        let task = place.container("nonsense", "sleep 1000").create().await;
        let path = task.client.address().strip_prefix("unix://").unwrap().to_owned();
        let answers = tokio::task::spawn_blocking(move || {
            let talk = |bytes: &[u8]| {
                let mut stream = UnixStream::connect(&path).unwrap();
                stream.set_read_timeout(Some(support::LONG)).unwrap();
                // The shim may hang up before all is written.
                let _ = stream.write_all(bytes);
                let _ = stream.shutdown(std::net::Shutdown::Write);
                let mut answer = Vec::new();
                let _ = stream.read_to_end(&mut answer);
                answer
            };
            let garbage: Vec<u8> = (0..100_000u32).map(|n| (n * 7919 % 251) as u8).collect();
            let call = |service: &str, method: &str, payload: Vec<u8>| {
                let request = ttrpc::Request {
                    service: service.into(),
                    method: method.into(),
                    payload,
                    ..ttrpc::Request::default()
                };
                ttrpc::frame(1, ttrpc::REQUEST, &request)
            };
            talk(b"");
            talk(b"A");
            talk(b"A{}\n");
            talk(b"A{\"id\":7}\n");
            talk(&[b'A'; 100_000]);
            talk(&garbage);
            talk(&[&[0, 0xff, 0xff, 0xff, 0, 0, 0, 1, 1, 0][..], &garbage].concat());
            talk(&[0, 0, 0, 0, 0, 0, 0, 2, 1, 0]);
            [
                talk(&call("x.Y", "Create", Vec::new())),
                talk(&call("containerd.task.v3.Task", "Fly", Vec::new())),
                talk(&call("containerd.task.v3.Task", "Kill", vec![0xff; 50])),
                // Of no task.
                talk(&call("containerd.task.v3.Task", "Checkpoint", Vec::new())),
            ]
        })
        .await
        .unwrap();
        for (answer, code) in answers.iter().zip([12, 12, 3, 5]) {
            let response: ttrpc::Response = prost::Message::decode(&answer[ttrpc::HEADER..]).unwrap();
            assert_eq!(response.status.unwrap().code, code);
        }
        assert!(task.client.state(&task.id, "").await.is_ok());
        task.delete().await;
    });
}
