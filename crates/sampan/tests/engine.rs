//! Attached streams, exit codes, pulls and failures, with an engine that does on purpose what a real one seldom does.

mod support;

use std::io::{Read, Write};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use support::{Engine, Reply, Request, frame, json, text};

const SWITCH: &str = "HTTP/1.1 101 UPGRADED\r\nContent-Type: application/vnd.docker.multiplexed-stream\r\n\
                      Connection: Upgrade\r\nUpgrade: tcp\r\n\r\n";

/// An attach that writes `output` at once.
fn attached(output: Vec<u8>) -> Reply {
    Reply::Raw(Box::new(move |out, _| {
        out.write_all(SWITCH.as_bytes()).unwrap();
        out.write_all(&output).unwrap();
    }))
}

/// The answers that every run needs, with an exit code.
fn run_replies(request: &Request, code: i32) -> Option<Reply> {
    if request.is("POST", "/containers/create") {
        return Some(json(201, r#"{"Id":"abc","Warnings":[]}"#));
    }
    if request.is("POST", "/containers/abc/wait") {
        return Some(json(200, &format!(r#"{{"StatusCode":{code}}}"#)));
    }
    request.is("POST", "/containers/abc/start").then(|| json(204, ""))
}

#[test]
fn streams_are_taken_apart_and_the_code_is_the_containers() {
    let engine = Engine::new("1.50", |request| {
        if request.is("POST", "/containers/abc/attach") {
            return attached([frame(1, "out\n"), frame(2, "err\n"), frame(1, "more\n")].concat());
        }
        run_replies(request, 42).unwrap_or_else(|| json(404, "{}"))
    });
    let output = engine.sampan(&["run", "i"]);
    assert_eq!((text(&output.stdout).as_str(), text(&output.stderr).as_str()), ("out\nmore\n", "err\n"));
    assert_eq!(output.status.code(), Some(42));
}

#[test]
fn the_end_of_input_leaves_output_open() {
    let engine = Engine::new("1.50", |request| {
        if request.is("POST", "/containers/abc/attach") {
            return Reply::Raw(Box::new(|out, input| {
                out.write_all(SWITCH.as_bytes()).unwrap();
                let mut all = String::new();
                input.read_to_string(&mut all).unwrap();
                out.write_all(&frame(1, &format!("{} bytes\n", all.len()))).unwrap();
            }));
        }
        run_replies(request, 0).unwrap_or_else(|| json(404, "{}"))
    });
    let output = engine.sampan_with(&["run", "-i", "i"], &vec![b'x'; 300_000]);
    assert_eq!(text(&output.stdout), "300000 bytes\n");
    assert_eq!(output.status.code(), Some(0));
}

#[test]
fn a_container_that_does_not_start_has_dockers_codes() {
    for (message, code) in [
        ("exec: \\\"x\\\": executable file not found in $PATH", 127),
        ("exec: \\\"/x\\\": stat /x: no such file or directory", 127),
        ("exec: \\\"/etc\\\": permission denied", 126),
        ("exec: \\\"/etc\\\": is a directory", 126),
        ("Bind for 0.0.0.0:80 failed: port is already allocated", 125),
    ] {
        let engine = Engine::new("1.50", move |request| {
            if request.is("POST", "/containers/abc/attach") {
                return Reply::Raw(Box::new(|out, input| {
                    out.write_all(SWITCH.as_bytes()).unwrap();
                    let _ = input.read_to_end(&mut Vec::new());
                }));
            }
            if request.is("POST", "/containers/abc/start") {
                return json(400, &format!(r#"{{"message":"{message}"}}"#));
            }
            run_replies(request, 0).unwrap_or_else(|| json(404, "{}"))
        });
        let output = engine.sampan(&["run", "i"]);
        let said = text(&output.stderr);
        assert_eq!(output.status.code(), Some(code), "{said}");
        assert!(said.starts_with("sampan: Error response from daemon: "), "{said}");
        assert!(said.contains("Run 'sampan run --help' for more information"), "{said}");
    }
}

/// The last message of a pull, good or bad.
fn pulls(last: &'static str) -> Engine {
    let pulled = Arc::new(AtomicBool::new(false));
    Engine::new("1.50", move |request| {
        if request.is("POST", "/containers/create") && !pulled.load(Ordering::SeqCst) {
            return json(404, r#"{"message":"No such image: r.example/i:latest"}"#);
        }
        if request.is("POST", "/images/create") {
            pulled.store(true, Ordering::SeqCst);
            let messages = [
                r#"{"status":"Pulling from i","id":"latest"}"#,
                r#"{"status":"Pulling fs layer","progressDetail":{},"id":"l1"}"#,
                r#"{"status":"Downloading","progressDetail":{"current":1,"total":2},"progress":"[=> ]","id":"l1"}"#,
                r#"{"status":"Pull complete","progressDetail":{},"id":"l1"}"#,
                last,
            ];
            return json(200, &messages.join("\r\n"));
        }
        if request.is("POST", "/containers/abc/attach") {
            return attached(frame(1, "ran\n"));
        }
        run_replies(request, 0).unwrap_or_else(|| json(404, "{}"))
    })
}

#[test]
fn a_missing_image_is_pulled_with_the_credentials_that_are_stored() {
    let engine = pulls(r#"{"status":"Digest: sha256:00"}"#);
    std::fs::write(engine.directory().join("config.json"), r#"{"auths":{"r.example":{"auth":"dXNlcjpwYXNz"}}}"#)
        .unwrap();
    let output = engine.sampan(&["run", "r.example/i"]);
    assert_eq!(text(&output.stdout), "ran\n");
    assert_eq!(
        text(&output.stderr),
        "Unable to find image 'r.example/i:latest' locally\nlatest: Pulling from i\nl1: Pulling fs layer\n\
         l1: Pull complete\nDigest: sha256:00\n"
    );
    let pull = engine.seen().into_iter().find(|request| request.is("POST", "/images/create")).unwrap();
    assert!(pull.path.contains("fromImage=r.example%2Fi&tag=latest"), "{}", pull.path);
    use base64::Engine as _;
    let auth = base64::engine::general_purpose::URL_SAFE.decode(&pull.headers["x-registry-auth"]).unwrap();
    let auth: serde_json::Value = serde_json::from_slice(&auth).unwrap();
    assert_eq!((auth["username"].as_str(), auth["password"].as_str()), (Some("user"), Some("pass")));
}

#[test]
fn a_pull_that_fails_half_way_fails() {
    let engine = pulls(r#"{"errorDetail":{"message":"no space left on device"},"error":"no space left on device"}"#);
    let output = engine.sampan(&["pull", "r.example/i"]);
    assert_eq!(output.status.code(), Some(1));
    assert_eq!(text(&output.stderr), "no space left on device\n");
    let output = engine.sampan(&["run", "--pull", "always", "r.example/i"]);
    assert_eq!(output.status.code(), Some(125));
}

#[test]
fn never_pulls_when_told_so() {
    let engine = pulls("{}");
    let output = engine.sampan(&["run", "--pull", "never", "r.example/i"]);
    assert_eq!(output.status.code(), Some(125));
    assert!(engine.seen().iter().all(|request| !request.is("POST", "/images/create")));
}

#[test]
fn a_helper_gives_and_keeps_credentials() {
    use std::os::unix::fs::PermissionsExt;
    let engine = Engine::new("1.50", |request| match request.is("POST", "/auth") {
        true => json(200, r#"{"Status":"Login Succeeded","IdentityToken":"tok"}"#),
        false => json(200, r#"{"status":"done"}"#),
    });
    let directory = engine.directory();
    let helper = directory.join("docker-credential-test");
    let script = format!(
        "#!/bin/sh\nif [ $1 = get ]; then cat >/dev/null; echo '{{\"Username\":\"<token>\",\"Secret\":\"t\"}}'; else cat > {}/$1; fi\n",
        directory.display()
    );
    std::fs::write(&helper, script).unwrap();
    std::fs::set_permissions(&helper, std::fs::Permissions::from_mode(0o755)).unwrap();
    std::fs::write(directory.join("config.json"), r#"{"credsStore":"test"}"#).unwrap();
    let path = format!("{}:{}", directory.display(), std::env::var("PATH").unwrap());
    let run =
        |words: &[&str]| engine.command(env!("CARGO_BIN_EXE_sampan")).env("PATH", &path).args(words).output().unwrap();
    run(&["pull", "r.example/i"]);
    let pull = engine.seen().into_iter().find(|request| request.is("POST", "/images/create")).unwrap();
    use base64::Engine as _;
    let auth = base64::engine::general_purpose::URL_SAFE.decode(&pull.headers["x-registry-auth"]).unwrap();
    assert!(text(&auth).contains(r#""identitytoken":"t""#), "{}", text(&auth));

    let output = run(&["login", "-u", "me", "-p", "secret", "r.example"]);
    assert_eq!(text(&output.stdout), "Login Succeeded\n", "{}", text(&output.stderr));
    let stored = std::fs::read_to_string(directory.join("store")).unwrap();
    assert_eq!(stored, r#"{"ServerURL":"r.example","Username":"<token>","Secret":"tok"}"#);
    let config = std::fs::read_to_string(directory.join("config.json")).unwrap();
    assert!(!config.contains("secret") && !config.contains("tok\""), "{config}");
    run(&["logout", "r.example"]);
    assert_eq!(std::fs::read_to_string(directory.join("erase")).unwrap(), "r.example");
}

#[test]
fn the_lower_version_is_spoken() {
    for (api, path) in [("1.30", "/v1.30/"), ("1.99", "/v1.50/")] {
        let engine = Engine::new(api, |_| json(200, "[]"));
        assert!(engine.sampan(&["ps"]).status.success());
        assert!(engine.seen()[0].path.starts_with(path), "{}", engine.seen()[0].path);
    }
}

#[test]
fn the_timeline_is_shown_and_the_container_removed_after_it() {
    let engine = Engine::new("1.50", |request| {
        if request.is("POST", "/containers/abc/attach") {
            return attached(frame(1, "hello\n"));
        }
        if request.is("GET", "/containers/abc/json") {
            return json(200, r#"{"Id":"abc","Timeline":[{"Stage":"resolve","Ms":1.5},{"Stage":"start","Ms":20}]}"#);
        }
        if request.is("DELETE", "/containers/abc") {
            return json(204, "");
        }
        run_replies(request, 3).unwrap_or_else(|| json(404, "{}"))
    });
    let output = engine.sampan(&["run", "--rm", "--timeline", "i"]);
    assert_eq!((text(&output.stdout).as_str(), output.status.code()), ("hello\n", Some(3)));
    let said = text(&output.stderr);
    assert!(said.contains("resolve") && said.contains("21.5"), "{said}");
    let seen = engine.seen();
    let create: serde_json::Value = serde_json::from_slice(&seen[0].body).unwrap();
    assert_eq!(create["HostConfig"]["AutoRemove"], false);
    assert!(seen.last().unwrap().is("DELETE", "/containers/abc?v=1"));
}

#[test]
fn broken_answers_end_with_one_clear_error() {
    for (answer, words) in [
        ("HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n[", "read the answer of the daemon"),
        ("HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\n{]}", "not what the API says"),
        ("HTTP/1.1 500 X\r\nContent-Length: 4\r\n\r\noops", "Error response from daemon: oops"),
        ("HTTP/1.1 500 X\r\nContent-Length: 0\r\n\r\n", "500 Internal Server Error without an explanation"),
        ("not http at all\r\n\r\n", "broke the connection"),
    ] {
        let engine =
            Engine::new("1.50", move |_| Reply::Raw(Box::new(move |out, _| out.write_all(answer.as_bytes()).unwrap())));
        let output = engine.sampan(&["ps"]);
        let said = text(&output.stderr);
        assert_eq!(output.status.code(), Some(1));
        assert!(said.contains(words) && said.lines().count() == 1, "{answer:?}: {said}");
    }
}

#[test]
fn no_daemon_is_said_so() {
    let output = std::process::Command::new(env!("CARGO_BIN_EXE_sampan"))
        .args(["-H", "unix:///nonexistent/sock", "ps"])
        .output()
        .unwrap();
    let said = text(&output.stderr);
    assert!(said.starts_with("Cannot connect to the daemon at unix:///nonexistent/sock"), "{said}");
    assert_eq!(output.status.code(), Some(1));
    let output = std::process::Command::new(env!("CARGO_BIN_EXE_sampan"))
        .args(["-H", "unix:///nonexistent/sock", "run", "i"])
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(125));
}

#[test]
fn an_upload_arrives_whole_and_a_failed_download_leaves_no_file() {
    let engine = Engine::new("1.50", |request| match request.is("POST", "/images/load") {
        true => json(200, r#"{"stream":"Loaded image: i\n"}"#),
        false => Reply::Raw(Box::new(|out, _| {
            out.write_all(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n").unwrap();
        })),
    });
    let data: Vec<u8> = (0..1_000_000u32).map(|n| n as u8).collect();
    let output = engine.sampan_with(&["load"], &data);
    assert_eq!(text(&output.stdout), "Loaded image: i\n", "{}", text(&output.stderr));
    assert_eq!(engine.seen()[0].body, data);

    let target = engine.directory().join("out.tar");
    let output = engine.sampan(&["save", "i", "-o", target.to_str().unwrap()]);
    assert_eq!(output.status.code(), Some(1), "{}", text(&output.stderr));
    let left: Vec<_> = std::fs::read_dir(engine.directory()).unwrap().map(|e| e.unwrap().file_name()).collect();
    assert_eq!(left, ["sock"]);
}

#[test]
fn an_exec_has_its_own_exit_code() {
    let engine = Engine::new("1.50", |request| {
        if request.is("POST", "/containers/c/exec") {
            return json(201, r#"{"Id":"e1"}"#);
        }
        if request.is("POST", "/exec/e1/start") {
            return attached(frame(2, "no\n"));
        }
        json(200, r#"{"ID":"e1","ExitCode":126,"Running":false}"#)
    });
    let output = engine.sampan(&["exec", "c", "x"]);
    assert_eq!((text(&output.stderr).as_str(), output.status.code()), ("no\n", Some(126)));
}

#[test]
fn an_error_of_the_daemon_within_the_stream_is_told() {
    let engine = Engine::new("1.50", |request| {
        if request.is("GET", "/containers/c/json") {
            return json(200, r#"{"Id":"c","Config":{"Tty":false}}"#);
        }
        Reply::Raw(Box::new(|out, _| {
            let body = [frame(1, "one\n"), frame(3, "disk on fire")].concat();
            let head = format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n", body.len());
            out.write_all(&[head.into_bytes(), body].concat()).unwrap();
        }))
    });
    let output = engine.sampan(&["logs", "c"]);
    assert_eq!(text(&output.stdout), "one\n");
    assert_eq!(text(&output.stderr), "error from daemon in stream: disk on fire\n");
    assert_eq!(output.status.code(), Some(1));
}

#[test]
fn completions_and_manual_pages_are_made() {
    let sampan =
        |words: &[&str]| std::process::Command::new(env!("CARGO_BIN_EXE_sampan")).args(words).output().unwrap();
    for shell in ["bash", "zsh", "fish"] {
        let script = text(&sampan(&["completion", shell]).stdout);
        assert!(script.contains("sampan") && script.contains("publish"), "{shell}");
    }
    assert_eq!(sampan(&["completion", "tcsh"]).status.code(), Some(1));
    let scratch = support::Scratch::new();
    assert!(sampan(&["man", scratch.path().to_str().unwrap()]).status.success());
    let page = std::fs::read_to_string(scratch.path().join("sampan-run.1")).unwrap();
    assert!(page.contains("volume"));
}
