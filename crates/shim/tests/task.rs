//! Containers through the whole shim, with every runtime that is here.

mod support;

use oci::Kind;
use support::{Place, collect, split};
use wire::task::Status;

#[test]
fn a_container_runs_and_its_exit_is_kept() {
    Place::each(|place| async move {
        let task = place.container("run", "echo out; echo err >&2; exit 7").create().await;
        let state = task.client.state(&task.id, "").await.unwrap();
        assert_eq!(state.status, Status::Created as i32);
        assert!(state.pid > 0 && task.client.info(&task.id).await.unwrap().task_pid == state.pid);
        let waiting = task.client.wait(&task.id, "");
        task.start().await;
        let ended = waiting.await.unwrap();
        assert_eq!(ended.status, 7);
        let kept = shim::exits::read(&task.bundle, "").unwrap().expect("an exit on disk before the answer");
        assert_eq!((kept.status, kept.exited_at, kept.pid, kept.oom_killed), (7, ended.at, state.pid, false));
        let logged = task.logged();
        assert!(logged.contains("out\n") && logged.contains("err\n"), "{logged}");
        assert_eq!(task.client.state(&task.id, "").await.unwrap().status, Status::Stopped as i32);
        assert_eq!(task.client.kill(&task.id, "", 9, false).await.unwrap_err().kind(), Kind::NotFound);
        assert_eq!(task.client.delete(&task.id, "").await.unwrap().status, 7);
        assert_eq!(task.client.wait(&task.id, "").await.unwrap_err().kind(), Kind::NotFound);
        task.client.shutdown(&task.id).await.unwrap();
    });
}

#[test]
fn a_missing_command_is_told_and_nothing_is_left() {
    Place::each(|place| async move {
        let (task, made) = place.container("missing", "").args(&["/no/such/command"]).try_create().await;
        // A runtime may find out when it makes the container or when it starts it.
        let error = match made {
            Err(error) => error,
            Ok(_) => {
                let error = task.client.start(&task.id, "").await.unwrap_err();
                task.client.delete(&task.id, "").await.unwrap();
                error
            }
        };
        let text = error.to_string();
        assert!(text.contains("/no/such/command") && text.contains("OCI runtime"), "{text}");
        assert_eq!(task.client.state(&task.id, "").await.unwrap_err().kind(), Kind::NotFound);
        assert!(std::fs::read_dir(task.bundle.join("rootfs")).unwrap().next().is_none(), "the root is unmounted");
        let second = place.container("again", "exit 0").create().await;
        second.start().await;
        assert_eq!(second.wait().await, 0);
        second.delete().await;
        task.client.shutdown(&task.id).await.unwrap();
    });
}

#[test]
fn signals_pause_and_processes() {
    Place::each(|place| async move {
        let task = place.container("signals", "trap 'exit 3' TERM; sleep 1000 & sleep 1000 & wait").create().await;
        task.start().await;
        let error = task.client.delete(&task.id, "").await.unwrap_err();
        assert_eq!(error.kind(), Kind::Conflict);
        while task.client.pids(&task.id).await.unwrap().len() < 3 {
            tokio::task::yield_now().await;
        }
        let stats = task.client.stats(&task.id).await.unwrap();
        assert!(stats.type_url.starts_with("io.containerd.cgroups.v") && !stats.value.is_empty());
        if std::path::Path::new("/sys/fs/cgroup/freezer").exists() || place.runtime.ends_with("runc") {
            task.client.pause(&task.id).await.unwrap();
            assert_eq!(task.client.state(&task.id, "").await.unwrap().status, Status::Paused as i32);
            task.client.resume(&task.id).await.unwrap();
        }
        assert_eq!(task.client.kill(&task.id, "", 99, false).await.unwrap_err().kind(), Kind::InvalidArgument);
        task.client.kill(&task.id, "", 15, false).await.unwrap();
        assert_eq!(task.wait().await, 3);
        task.delete().await;

        let task = place.container("killed", "sleep 1000").create().await;
        task.start().await;
        task.client.pause(&task.id).await.unwrap();
        task.client.kill(&task.id, "", 9, true).await.unwrap();
        assert_eq!(task.wait().await, 137);
        task.delete().await;
    });
}

#[test]
fn what_was_never_started_can_be_deleted() {
    Place::each(|place| async move {
        let task = place.container("created", "exit 0").create().await;
        let waiting = task.client.wait(&task.id, "");
        let deleted = task.client.delete(&task.id, "");
        let (waited, deleted) = tokio::join!(waiting, deleted);
        assert_eq!(deleted.unwrap().status, 137);
        // It may have been answered or refused, but not left waiting.
        drop(waited);
        task.client.shutdown(&task.id).await.unwrap();
    });
}

#[test]
fn attached_clients_see_all_and_may_write() {
    Place::each(|place| async move {
        let task = place.container("attach", "echo first; cat; echo last >&2").stdin().create().await;
        let mut attached = task.attach("", true).await;
        let mut listener = task.attach("", false).await;
        assert!(!attached.tty);
        let mut input = attached.input.take().unwrap();
        // Before the start, as docker does; and more than any buffer holds.
        let text = b"0123456789abcdef".repeat(64 * 1024);
        let expected = [b"first\n", &text[..]].concat();
        let writer = tokio::spawn(async move {
            input.write(&text).await.unwrap();
            input.close().await.unwrap();
        });
        task.start().await;
        let ((out, err), (other, _)) = tokio::join!(collect(&mut attached.output), collect(&mut listener.output));
        writer.await.unwrap();
        assert!(out == expected && other == expected, "{} {} {}", out.len(), other.len(), expected.len());
        assert_eq!(err, b"last\n");
        assert_eq!(task.wait().await, 0);
        let options = shim::client::AttachOptions::default();
        assert_eq!(task.client.attach(&task.id, "", options).await.unwrap_err().kind(), Kind::Conflict);
        assert_eq!(task.client.attach("nobody", "", options).await.unwrap_err().kind(), Kind::NotFound);
        task.delete().await;
    });
}

#[test]
fn a_terminal_has_a_size_and_one_stream() {
    Place::each(|place| async move {
        let task =
            place.container("tty", "stty size; read line; stty size; echo got $line").terminal().stdin().create().await;
        task.client.resize(&task.id, "", 100, 30).await.unwrap();
        let mut attached = task.attach("", true).await;
        assert!(attached.tty);
        task.start().await;
        let mut seen = Vec::new();
        while !String::from_utf8_lossy(&seen).contains("30 100") {
            seen.extend(attached.output.next().await.expect("more output").unwrap());
        }
        task.client.resize(&task.id, "", 80, 24).await.unwrap();
        attached.input.as_mut().unwrap().write(b"hello\n").await.unwrap();
        while let Some(bytes) = attached.output.next().await {
            seen.extend(bytes.unwrap());
        }
        let text = String::from_utf8_lossy(&seen);
        assert!(text.contains("24 80") && text.contains("got hello"), "{text}");
        assert_eq!(task.wait().await, 0);
        assert!(task.logged().contains("got hello"));
        task.delete().await;
    });
}

#[test]
fn execs_have_streams_exits_and_errors_of_their_own() {
    Place::each(|place| async move {
        let task = place.container("exec", "sleep 1000").create().await;
        task.start().await;
        task.exec("a", "cat; echo e >&2; exit 5", false, true).await.unwrap();
        assert_eq!(task.exec("a", "", false, false).await.unwrap_err().kind(), Kind::AlreadyExists);
        let mut attached = task.attach("a", true).await;
        task.client.start(&task.id, "a").await.unwrap();
        let mut input = attached.input.take().unwrap();
        input.write(b"through").await.unwrap();
        input.close().await.unwrap();
        assert_eq!(collect(&mut attached.output).await, (b"through".to_vec(), b"e\n".to_vec()));
        assert_eq!(task.client.wait(&task.id, "a").await.unwrap().status, 5);
        assert_eq!(shim::exits::read(&task.bundle, "a").unwrap().unwrap().status, 5);
        assert_eq!(task.client.delete(&task.id, "a").await.unwrap().status, 5);
        assert!(shim::exits::read(&task.bundle, "a").unwrap().is_none());

        task.exec("tty", "stty size; exit 6", true, false).await.unwrap();
        task.client.resize(&task.id, "tty", 77, 11).await.unwrap();
        let mut attached = task.attach("tty", false).await;
        task.client.start(&task.id, "tty").await.unwrap();
        let mut seen = Vec::new();
        while let Some(bytes) = attached.output.next().await {
            seen.extend(bytes.unwrap());
        }
        assert!(String::from_utf8_lossy(&seen).contains("11 77"), "{}", String::from_utf8_lossy(&seen));
        assert_eq!(task.client.wait(&task.id, "tty").await.unwrap().status, 6);

        let process =
            serde_json::json!({ "user": { "uid": 0, "gid": 0 }, "cwd": "/", "args": ["/no/such"], "env": [] });
        task.exec_process("bad", &process, false, false).await.unwrap();
        let mut early = task.attach("bad", false).await;
        let error = task.client.start(&task.id, "bad").await.unwrap_err();
        assert!(error.to_string().contains("/no/such"), "{error}");
        assert!(early.output.next().await.is_none(), "a client of an exec that failed is let go");
        task.client.delete(&task.id, "bad").await.unwrap();

        // Many at once, with a child each that outlives it and holds its streams.
        let mut all = Vec::new();
        for number in 0..8 {
            let exec = format!("many{number}");
            task.exec(&exec, &format!("sleep 1000 & exit {number}"), false, false).await.unwrap();
            let (client, id) = (task.client.clone(), task.id.clone());
            all.push(tokio::spawn(async move {
                client.start(&id, &exec).await.unwrap();
                client.wait(&id, &exec).await.unwrap().status
            }));
        }
        for (number, one) in all.into_iter().enumerate() {
            assert_eq!(one.await.unwrap(), number as u32);
        }
        task.client.kill(&task.id, "", 9, true).await.unwrap();
        assert_eq!(task.wait().await, 137);
        task.delete().await;
    });
}

#[test]
fn one_shim_serves_a_pod() {
    Place::each(|place| async move {
        let first = place.container("a", "sleep 1000").pod("pod-1").create().await;
        let second = place.container("b", "sleep 1000").pod("pod-1").create().await;
        let other = place.container("c", "sleep 1000").pod("pod-2").create().await;
        assert_eq!(first.client.address(), second.client.address());
        assert_ne!(first.client.address(), other.client.address());
        for task in [&first, &second, &other] {
            task.start().await;
        }
        first.client.kill(&first.id, "", 9, false).await.unwrap();
        assert_eq!(first.wait().await, 137);
        first.delete().await;
        assert_eq!(second.client.state(&second.id, "").await.unwrap().status, Status::Running as i32);
        for task in [&second, &other] {
            task.client.kill(&task.id, "", 9, false).await.unwrap();
            assert_eq!(task.wait().await, 137);
            task.delete().await;
        }
    });
}

#[test]
fn processes_without_a_pid_namespace_end_with_the_first() {
    Place::each(|place| async move {
        let task = place.container("shared", "sleep 1000 & sleep 1000 & exit 4").without_pid_namespace().create().await;
        task.start().await;
        assert_eq!(task.wait().await, 4);
        // The kernel takes a moment to carry out what it was told.
        while !task.client.pids(&task.id).await.unwrap().is_empty() {
            tokio::task::yield_now().await;
        }
        task.delete().await;
    });
}

#[test]
fn an_eater_of_memory_is_told_from_others() {
    Place::each(|place| async move {
        let script = "x=a; while true; do x=$x$x; done";
        let task = place.container("oom", script).memory(16 << 20).create().await;
        task.start().await;
        assert_eq!(task.wait().await, 137);
        assert!(shim::exits::read(&task.bundle, "").unwrap().unwrap().oom_killed);
        task.delete().await;
    });
}

#[test]
fn stdcopy_frames_split() {
    assert_eq!(split(&[1, 0, 0, 0, 0, 0, 0, 1, b'x', 2, 0, 0, 0, 0, 0, 0, 0]), (b"x".to_vec(), vec![]));
}
