//! A person's terminal: raw while attached, as it was afterwards; sizes, signals and the keys that detach.

mod support;

use rustix::fs::{Mode, OFlags};
use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};
use rustix::termios::{LocalModes, Winsize, tcgetattr, tcsetwinsize};
use std::fs::File;
use std::io::{Read, Write};
use std::process::{Child, Stdio};
use std::time::{Duration, Instant};
use support::{Engine, Reply, json};

/// A terminal with a program on it.
struct Terminal {
    screen: File,
    device: File,
    child: Child,
}

impl Terminal {
    fn run(engine: &Engine, words: &[&str]) -> Self {
        let screen = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY).unwrap();
        grantpt(&screen).unwrap();
        unlockpt(&screen).unwrap();
        let name = ptsname(&screen, Vec::new()).unwrap();
        let open = || File::from(rustix::fs::open(&name, OFlags::RDWR | OFlags::NOCTTY, Mode::empty()).unwrap());
        let size = Winsize { ws_row: 30, ws_col: 100, ws_xpixel: 0, ws_ypixel: 0 };
        tcsetwinsize(&screen, size).unwrap();
        rustix::fs::fcntl_setfl(&screen, OFlags::RDWR | OFlags::NONBLOCK).unwrap();
        let child = engine
            .command(env!("CARGO_BIN_EXE_sampan"))
            .args(words)
            .stdin(Stdio::from(open()))
            .stdout(Stdio::from(open()))
            .stderr(Stdio::from(open()))
            .spawn()
            .unwrap();
        Self { screen: File::from(screen), device: open(), child }
    }

    fn is_raw(&self) -> bool {
        !tcgetattr(&self.device).unwrap().local_modes.intersects(LocalModes::ICANON | LocalModes::ECHO)
    }

    fn wait(&mut self) -> Option<i32> {
        let start = Instant::now();
        loop {
            if let Some(status) = self.child.try_wait().unwrap() {
                return status.code();
            }
            assert!(start.elapsed() < Duration::from_secs(60), "the program does not end");
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    /// What is on the screen up to and with `words`.
    fn read_to(&mut self, words: &str) -> String {
        let mut all = Vec::new();
        let mut byte = [0];
        until(&format!("{words:?} is on the screen"), || {
            while !all.ends_with(words.as_bytes()) {
                match self.screen.read(&mut byte) {
                    Ok(1) => all.push(byte[0]),
                    _ => return false,
                }
            }
            true
        });
        String::from_utf8_lossy(&all).into_owned()
    }
}

fn until(what: &str, mut condition: impl FnMut() -> bool) {
    let start = Instant::now();
    while !condition() {
        assert!(start.elapsed() < Duration::from_secs(60), "waited in vain until {what}");
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// A container that repeats what it is told; `exit` ends it.
fn echo() -> Engine {
    Engine::new("1.50", |request| {
        if request.is("POST", "/containers/create") {
            return json(201, r#"{"Id":"abc"}"#);
        }
        if request.is("POST", "/containers/abc/attach") {
            return Reply::Raw(Box::new(|out, input| {
                out.write_all(b"HTTP/1.1 101 UPGRADED\r\nConnection: Upgrade\r\nUpgrade: tcp\r\n\r\nready\r\n")
                    .unwrap();
                let mut byte = [0];
                while input.read_exact(&mut byte).is_ok() && byte != *b"!" {
                    out.write_all(&byte).unwrap();
                }
            }));
        }
        if request.is("POST", "/containers/abc/wait") {
            return json(200, r#"{"StatusCode":7}"#);
        }
        json(if request.is("POST", "/containers/abc/resize") { 200 } else { 204 }, "")
    })
}

#[test]
fn a_terminal_is_raw_while_attached() {
    let engine = echo();
    let mut terminal = Terminal::run(&engine, &["run", "-it", "i"]);
    terminal.read_to("ready\r\n");
    until("the terminal is raw", || terminal.is_raw());
    terminal.screen.write_all(b"a\x03b").unwrap();
    // Ctrl-C is the container's, and nothing is echoed twice.
    assert_eq!(terminal.read_to("b"), "a\u{3}b");
    let sizes = || engine.seen().into_iter().filter(|r| r.is("POST", "/containers/abc/resize")).collect::<Vec<_>>();
    until("the first size is sent", || !sizes().is_empty());
    assert!(sizes()[0].path.ends_with("?h=30&w=100"), "{}", sizes()[0].path);

    let size = Winsize { ws_row: 50, ws_col: 120, ws_xpixel: 0, ws_ypixel: 0 };
    tcsetwinsize(&terminal.screen, size).unwrap();
    rustix::process::kill_process(rustix::process::Pid::from_child(&terminal.child), rustix::process::Signal::WINCH)
        .unwrap();
    until("the new size is sent", || sizes().iter().any(|r| r.path.ends_with("?h=50&w=120")));

    terminal.screen.write_all(b"!").unwrap();
    assert_eq!(terminal.wait(), Some(7));
    assert!(!terminal.is_raw(), "the terminal is left raw");
}

#[test]
fn keys_detach() {
    for (words, keys) in [
        (&["run", "-it", "i"][..], &b"\x10\x11"[..]),
        (&["run", "-it", "--detach-keys", "ctrl-a,d", "i"][..], &b"\x01d"[..]),
    ] {
        let engine = echo();
        let mut terminal = Terminal::run(&engine, words);
        terminal.read_to("ready\r\n");
        terminal.screen.write_all(b"x").unwrap();
        terminal.read_to("x");
        terminal.screen.write_all(keys).unwrap();
        assert_eq!(terminal.wait(), Some(0));
        assert!(!terminal.is_raw());
    }
}

#[test]
fn a_start_that_fails_leaves_the_terminal_as_it_was() {
    let engine = Engine::new("1.50", |request| {
        if request.is("POST", "/containers/create") {
            return json(201, r#"{"Id":"abc"}"#);
        }
        if request.is("POST", "/containers/abc/attach") {
            return Reply::Raw(Box::new(|out, input| {
                out.write_all(b"HTTP/1.1 101 UPGRADED\r\nConnection: Upgrade\r\nUpgrade: tcp\r\n\r\n").unwrap();
                let _ = input.read_to_end(&mut Vec::new());
            }));
        }
        if request.is("POST", "/containers/abc/start") {
            return json(500, r#"{"message":"no"}"#);
        }
        json(200, r#"{"StatusCode":0}"#)
    });
    let mut terminal = Terminal::run(&engine, &["run", "-it", "i"]);
    assert_eq!(terminal.wait(), Some(125));
    assert!(!terminal.is_raw());
}

#[test]
fn signals_reach_the_container() {
    let engine = echo();
    let mut command = engine.command(env!("CARGO_BIN_EXE_sampan"));
    let mut child = command.args(["run", "-i", "i"]).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    until("the container has started", || engine.seen().iter().any(|r| r.is("POST", "/containers/abc/start")));
    let pid = rustix::process::Pid::from_child(&child);
    rustix::process::kill_process(pid, rustix::process::Signal::TERM).unwrap();
    until("the signal is handed on", || {
        engine.seen().iter().any(|r| r.is("POST", "/containers/abc/kill") && r.path.ends_with("?signal=TERM"))
    });
    assert!(child.try_wait().unwrap().is_none(), "the signal was the container's, not this program's");
    child.stdin.take().unwrap().write_all(b"!").unwrap();
    child.wait().unwrap();
}
