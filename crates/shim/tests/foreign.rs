//! What containerd and its clients see of the shim: FIFOs, files, events.

mod support;

use prost::Message;
use std::io::{Read, Write};
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};
use std::sync::mpsc::Receiver;
use support::Place;
use wire::task_events::{ForwardRequest, TaskExit, TaskStart};
use wire::ttrpc::{self, Header, Request, Response};

fn fifo(place: &Place, name: &str) -> PathBuf {
    let path = place.root.join(name);
    rustix::fs::mknodat(rustix::fs::CWD, &path, rustix::fs::FileType::Fifo, rustix::fs::Mode::RWXU, 0).unwrap();
    path
}

fn text(path: &Path) -> String {
    path.to_str().unwrap().to_owned()
}

#[test]
fn fifos_carry_everything_and_close_io_ends_it() {
    Place::each(|place| async move {
        let paths = ["in", "out", "err"].map(|name| fifo(&place, name));
        let mut builder = place.container("fifo", "cat; echo end >&2; exit 4");
        builder.uris = Some([text(&paths[0]), format!("fifo://{}", text(&paths[1])), text(&paths[2])]);
        let task = builder.create().await;
        let read = |path: PathBuf| {
            tokio::task::spawn_blocking(move || {
                let mut bytes = Vec::new();
                std::fs::File::open(path).unwrap().read_to_end(&mut bytes).unwrap();
                bytes
            })
        };
        let (out, err) = (read(paths[1].clone()), read(paths[2].clone()));
        task.start().await;
        let sent = b"0123456789abcde\n".repeat(40_000);
        for part in sent.chunks(sent.len() / 2) {
            // A client that goes away and comes back, as a daemon that is restarted, ends nothing.
            let (path, part) = (paths[0].clone(), part.to_vec());
            tokio::task::spawn_blocking(move || {
                std::fs::File::options().write(true).open(path).unwrap().write_all(&part).unwrap();
            })
            .await
            .unwrap();
        }
        task.client.close_io(&task.id, "").await.unwrap();
        assert_eq!(task.wait().await, 4);
        assert!(out.await.unwrap() == sent, "all of it, in order");
        assert_eq!(err.await.unwrap(), b"end\n");
        task.delete().await;
    });
}

#[test]
fn files_are_appended_to() {
    Place::each(|place| async move {
        let path = place.root.join("plain");
        std::fs::write(&path, "before\n").unwrap();
        let mut builder = place.container("file", "echo one");
        builder.uris = Some([String::new(), format!("file://{}", path.display()), String::new()]);
        let task = builder.create().await;
        task.start().await;
        assert_eq!(task.wait().await, 0);
        assert_eq!(std::fs::read_to_string(&path).unwrap(), "before\none\n");
        task.delete().await;

        let mut builder = place.container("binary", "echo one");
        builder.uris = Some([String::new(), "binary:///bin/logger".into(), String::new()]);
        let (task, made) = builder.try_create().await;
        assert_eq!(made.unwrap_err().kind(), oci::Kind::Unsupported);
        assert!(std::fs::read_dir(task.bundle.join("rootfs")).unwrap().next().is_none(), "the root is unmounted");
        task.client.shutdown(&task.id).await.unwrap();
    });
}

/// Takes events on a socket, as containerd does.
fn listen(path: &Path) -> Receiver<ForwardRequest> {
    let listener = UnixListener::bind(path).unwrap();
    let (sender, receiver) = std::sync::mpsc::channel();
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = stream.unwrap();
            let mut head = [0; ttrpc::HEADER];
            while stream.read_exact(&mut head).is_ok() {
                let header = Header::decode(&head);
                let mut body = vec![0; header.length];
                stream.read_exact(&mut body).unwrap();
                let request = Request::decode(&*body).unwrap();
                assert_eq!(request.service, "containerd.services.events.ttrpc.v1.Events");
                if sender.send(ForwardRequest::decode(&*request.payload).unwrap()).is_err() {
                    return;
                }
                let _ = stream.write_all(&ttrpc::frame(header.stream, ttrpc::RESPONSE, &Response::default()));
            }
        }
    });
    receiver
}

#[test]
fn containerd_hears_of_everything_in_order() {
    Place::each(|place| async move {
        let socket = place.root.join("events.sock");
        let events = listen(&socket);
        let mut builder = place.container("events", "exit 6");
        builder.events = Some(socket);
        let task = builder.create().await;
        task.start().await;
        assert_eq!(task.wait().await, 6);
        task.delete().await;
        let heard: Vec<_> = std::iter::from_fn(|| events.recv_timeout(support::LONG).ok()).take(4).collect();
        let envelopes: Vec<_> = heard.into_iter().map(|e| e.envelope.unwrap()).collect();
        let topics: Vec<&str> = envelopes.iter().map(|e| e.topic.as_str()).collect();
        assert_eq!(topics, ["/tasks/create", "/tasks/start", "/tasks/exit", "/tasks/delete"]);
        assert!(envelopes.iter().all(|e| e.namespace == "test"));
        let start = TaskStart::decode(&*envelopes[1].event.as_ref().unwrap().value).unwrap();
        let exit = TaskExit::decode(&*envelopes[2].event.as_ref().unwrap().value).unwrap();
        assert_eq!((exit.exit_status, exit.pid, exit.id), (6, start.pid, task.id.clone()));
    });
}

#[test]
fn a_kill_for_memory_is_told_while_the_container_runs() {
    Place::each(|place| async move {
        let socket = place.root.join("events.sock");
        let events = listen(&socket);
        // The shell's child eats, the shell goes on.
        let script = "sh -c 'x=a; while true; do x=$x$x; done'; sleep 1000";
        let mut builder = place.container("oom", script).memory(16 << 20);
        builder.events = Some(socket);
        let task = builder.create().await;
        task.start().await;
        let heard = tokio::task::spawn_blocking(move || {
            std::iter::from_fn(|| events.recv_timeout(support::LONG).ok())
                .any(|e| e.envelope.is_some_and(|e| e.topic == "/tasks/oom"))
        });
        assert!(heard.await.unwrap());
        let state = task.client.state(&task.id, "").await.unwrap();
        assert_eq!(state.status, wire::task::Status::Running as i32);
        task.client.kill(&task.id, "", 9, false).await.unwrap();
        assert_eq!(task.wait().await, 137);
        task.delete().await;
    });
}
