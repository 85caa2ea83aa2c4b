//! A criu that is not one: it speaks criu's protocol, by code of its own, and does as a test tells it.
//!
//! The script that stands in criu's place runs the test program again, with the one test that is [`Fake`].

#![allow(dead_code, reason = "every test file uses a part of it")]

use std::fs;
use std::io::IoSlice;
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::process::Output;

use rustix::net::{SendAncillaryBuffer, SendAncillaryMessage, SendFlags, sendmsg};

use crate::common::Bench;

/// The other side: run by the script that stands in criu's place.
pub(crate) fn serve_if_asked() {
    let Ok(mode) = std::env::var("FAKE_CRIU") else { return };
    let number = std::env::var("FAKE_CRIU_FD").expect("fd").parse().expect("number");
    let line = sys::process::adopt_inherited(number).expect("the line");
    let notes = PathBuf::from(std::env::var("FAKE_CRIU_NOTES").expect("notes"));
    Fake { line, mode, notes }.serve();
    std::process::exit(0);
}

struct Fake {
    line: OwnedFd,
    mode: String,
    notes: PathBuf,
}

/// A field of a message: number, then the value as a number or as bytes.
pub(crate) type Field = (u64, u64, Vec<u8>);

pub(crate) fn parse(mut bytes: &[u8]) -> Vec<Field> {
    let mut fields = Vec::new();
    let varint = |bytes: &mut &[u8]| {
        let (mut value, mut shift) = (0u64, 0);
        loop {
            let byte = bytes[0];
            *bytes = &bytes[1..];
            value |= u64::from(byte & 0x7f) << shift;
            shift += 7;
            if byte < 0x80 {
                return value;
            }
        }
    };
    while !bytes.is_empty() {
        let key = varint(&mut bytes);
        let value = varint(&mut bytes);
        let inner = if key & 7 == 2 {
            let (head, tail) = bytes.split_at(value as usize);
            bytes = tail;
            head.to_vec()
        } else {
            Vec::new()
        };
        fields.push((key >> 3, value, inner));
    }
    fields
}

pub(crate) fn number(fields: &[Field], wanted: u64) -> Option<u64> {
    fields.iter().find(|f| f.0 == wanted).map(|f| f.1)
}

pub(crate) fn strings(fields: &[Field], wanted: u64) -> Vec<String> {
    fields.iter().filter(|f| f.0 == wanted).map(|f| String::from_utf8_lossy(&f.2).into_owned()).collect()
}

/// Messages of two strings.
pub(crate) fn pairs(fields: &[Field], wanted: u64) -> Vec<(String, String)> {
    let inner = |f: &Field| {
        let inner = parse(&f.2);
        (strings(&inner, 1).concat(), strings(&inner, 2).concat())
    };
    fields.iter().filter(|f| f.0 == wanted).map(inner).collect()
}

fn varint(mut value: u64) -> Vec<u8> {
    let mut out = Vec::new();
    while value >= 0x80 {
        out.push(value as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
    out
}

fn bytes_field(field: u64, value: &[u8]) -> Vec<u8> {
    [varint(field << 3 | 2), varint(value.len() as u64), value.to_vec()].concat()
}

fn number_field(field: u64, value: u64) -> Vec<u8> {
    [varint(field << 3), varint(value)].concat()
}

impl Fake {
    fn receive(&self) -> Vec<Field> {
        let mut packet = vec![0; 1 << 20];
        let length = rustix::io::read(&self.line, &mut packet).expect("read");
        if length == 0 {
            std::process::exit(1);
        }
        parse(&packet[..length])
    }

    fn send(&self, packet: &[u8], fd: Option<&OwnedFd>) {
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
        let mut control = SendAncillaryBuffer::new(&mut space);
        let fds: Vec<_> = fd.iter().map(|f| f.as_fd()).collect();
        if !fds.is_empty() {
            assert!(control.push(SendAncillaryMessage::ScmRights(&fds)));
        }
        sendmsg(&self.line, &[IoSlice::new(packet)], &mut control, SendFlags::NOSIGNAL).expect("send");
    }

    fn answer(&self, kind: u64, success: bool, rest: &[u8]) {
        self.send(&[&number_field(1, kind), &number_field(2, success.into()), rest].concat(), None);
    }

    fn notify(&self, script: &str, pid: i32, fd: Option<&OwnedFd>) {
        let inner = [bytes_field(1, script.as_bytes()), number_field(2, pid as u64)].concat();
        self.send(&[number_field(1, 6), number_field(2, 1), bytes_field(5, &inner)].concat(), fd);
        let answer = self.receive();
        assert_eq!((number(&answer, 1), number(&answer, 3)), (Some(6), Some(1)), "the runtime lets go on");
    }

    fn serve(&self) {
        let request = self.receive();
        let kind = number(&request, 1).expect("type");
        let at = |mode: &str| self.mode == mode || self.mode == format!("{mode}-{kind}");
        if at("die") {
            std::process::exit(3);
        }
        if at("hang") {
            std::thread::sleep(std::time::Duration::from_secs(600));
        }
        if at("errno") {
            let rest = [number_field(7, 13), bytes_field(9, b"no luck\nat all")].concat();
            return self.answer(kind, false, &rest);
        }
        if at("garbage") {
            return self.send(&[0xff; 64], None);
        }
        if at("huge") {
            return self.send(&[[8, 1, 16, 1].as_slice(), &bytes_field(9, &vec![b'x'; 60 << 10])].concat(), None);
        }
        if at("other") {
            return self.answer(12, true, &[]);
        }
        let options = request.iter().find(|f| f.0 == 2).map(|f| parse(&f.2)).unwrap_or_default();
        match kind {
            10 => {
                let version = match self.mode.as_str() {
                    "old" => [number_field(1, 2), number_field(2, 12)].concat(),
                    "criu3.14" => [number_field(1, 3), number_field(2, 14)].concat(),
                    _ => [number_field(1, 3), number_field(2, 17), number_field(4, 1)].concat(),
                };
                self.answer(10, true, &bytes_field(10, &version));
            }
            9 => {
                let can = u64::from(self.mode != "nofeature");
                self.answer(9, true, &bytes_field(8, &[number_field(1, can), number_field(2, can)].concat()));
            }
            1 | 4 => self.dump(kind, &request, &options),
            2 => self.restore(&request, &options),
            other => panic!("request {other}"),
        }
    }

    fn note(&self, request: &[Field]) {
        let options = &request.iter().find(|f| f.0 == 2).expect("options").2;
        fs::write(self.notes.join("options"), options).expect("note");
    }

    /// A directory of which the runtime has named a descriptor.
    fn directory(options: &[Field], field: u64) -> PathBuf {
        let parent = rustix::process::getppid().expect("parent").as_raw_nonzero();
        PathBuf::from(format!("/proc/{parent}/fd/{}", number(options, field).expect("fd")))
    }

    fn dump(&self, kind: u64, request: &[Field], options: &[Field]) {
        self.note(request);
        fs::write(Self::directory(options, 1).join("inventory.img"), "x").expect("image");
        self.notify("pre-dump", 0, None);
        if self.mode == "dump-fails" {
            let log = Self::directory(options, 17).join("dump.log");
            fs::write(log, "one\ntwo\n(00.1) Error (criu/x.c:1): the reason\n").expect("log");
            return self.answer(1, false, &[]);
        }
        let freezer = PathBuf::from(strings(options, 44).concat());
        match self.mode.as_str() {
            // As one that is killed in the worst moment, or does nothing any more.
            "freeze-death" | "freeze-hangs" => {
                let (file, word) = [("cgroup.freeze", "1"), ("freezer.state", "FROZEN")]
                    .into_iter()
                    .find(|(file, _)| freezer.join(file).exists())
                    .expect("a freezer");
                fs::write(freezer.join(file), word).expect("freeze");
                if self.mode == "freeze-hangs" {
                    fs::write(self.notes.join("waits"), std::process::id().to_string()).expect("note");
                    std::thread::sleep(std::time::Duration::from_secs(600));
                }
                std::process::exit(4);
            }
            // A child of it keeps the line open.
            "dump-orphans" => self.die_with_an_heir(),
            "dump-waits" => self.wait_for_the_end(),
            _ => {}
        }
        if kind == 1 {
            self.notify("network-lock", 0, None);
            self.notify("status-ready", 0, None);
            self.notify("post-dump", 0, None);
            if number(options, 3) != Some(1) {
                sys::process::kill(number(options, 2).expect("pid") as i32, 9).expect("kill");
            }
        }
        self.answer(kind, true, &[]);
        if kind == 4 {
            // As the real one: it waits for the next request, and there is none.
            self.receive();
        }
    }

    /// Dies, and leaves a process that holds the line for a while.
    fn die_with_an_heir(&self) -> ! {
        let fork = sys::clone::Fork { flags: 0, cgroup: None };
        if let sys::clone::Forked::Child = fork.fork().expect("fork") {
            std::thread::sleep(std::time::Duration::from_secs(5));
        }
        std::process::exit(4)
    }

    /// Works until nobody wants the answer any more, and undoes everything then.
    fn wait_for_the_end(&self) -> ! {
        fs::write(self.notes.join("waits"), std::process::id().to_string()).expect("note");
        let length = rustix::io::read(&self.line, &mut [0; 64]).expect("read");
        assert_eq!(length, 0, "the line's end");
        fs::write(self.notes.join("undone"), "").expect("note");
        std::process::exit(5)
    }

    fn restore(&self, request: &[Field], options: &[Field]) {
        self.note(request);
        assert!(Self::directory(options, 1).join("descriptors.json").exists());
        let root = PathBuf::from(strings(options, 13).concat());
        let seen: Vec<String> = fs::read_dir(&root)
            .expect("root")
            .map(|e| e.expect("entry").file_name().to_string_lossy().into_owned())
            .collect();
        fs::write(self.notes.join("root"), seen.join(" ")).expect("note");
        fs::copy("/proc/self/mountinfo", self.notes.join("mountinfo")).expect("note");
        self.notify("pre-restore", 0, None);
        let script = if self.mode == "short" { c"sleep 0.3; exit 7" } else { c"exec sleep 600" };
        let args = sys::exec::Vector::new(vec![c"sh".into(), c"-c".into(), script.into()]);
        let env = sys::exec::Vector::new(vec![c"PATH=/usr/bin:/bin".into()]);
        const CLONE_PARENT: u64 = 0x8000;
        const CLONE_NEWNET: u64 = 0x4000_0000;
        let flags = CLONE_PARENT | if self.mode.starts_with("network") { CLONE_NEWNET } else { 0 };
        let pid = match (sys::clone::Fork { flags, cgroup: None }).fork().expect("fork") {
            sys::clone::Forked::Child => {
                let _ = sys::exec::execve(c"/bin/sh", &args, &env);
                sys::process::exit_now(127)
            }
            sys::clone::Forked::Parent { pid, .. } => pid,
        };
        fs::write(self.notes.join("pid"), pid.to_string()).expect("note");
        match self.mode.as_str() {
            "early-death" => std::process::exit(4),
            "restore-orphans" => self.die_with_an_heir(),
            "restore-waits" => self.wait_for_the_end(),
            _ => {}
        }
        self.notify("setup-namespaces", pid, None);
        if self.mode == "terminal" {
            let null: OwnedFd = fs::File::open("/dev/zero").expect("open").into();
            self.notify("orphan-pts-master", 0, Some(&null));
        }
        self.notify("post-restore", if self.mode == "wrong-pid" { 0 } else { pid }, None);
        if self.mode.ends_with("late-errno") {
            return self.answer(2, false, &number_field(7, 5));
        }
        if self.mode == "late-death" {
            std::process::exit(4);
        }
        self.answer(2, true, &bytes_field(4, &number_field(1, pid as u64)));
        if self.mode == "bad-end" {
            std::process::exit(9);
        }
    }
}

/// Places the script where `PATH` finds it.
pub(crate) struct Stage {
    pub(crate) notes: PathBuf,
    pub(crate) path: String,
}

impl Stage {
    pub(crate) fn new(b: &Bench) -> Self {
        let bin = b.directory.path().join("fake-bin");
        let notes = b.directory.path().join("notes");
        fs::create_dir_all(&bin).expect("mkdir");
        fs::create_dir_all(&notes).expect("mkdir");
        let own = std::env::current_exe().expect("own program");
        let script = format!(
            "#!/bin/sh\n[ \"$1\" = swrk ] || exit 64\nFAKE_CRIU_FD=$2 exec {} --exact fake_criu --nocapture \
             --test-threads=1 >/dev/null 2>{}\n",
            own.display(),
            notes.join("stderr").display()
        );
        fs::write(bin.join("criu"), script).expect("script");
        fs::set_permissions(bin.join("criu"), fs::Permissions::from_mode(0o755)).expect("chmod");
        Self { path: format!("{}:/usr/bin:/bin", bin.display()), notes }
    }

    pub(crate) fn command(&self, b: &Bench, mode: &str, args: &[&str]) -> std::process::Command {
        let mut command = b.command(args);
        command.env("PATH", &self.path).env("FAKE_CRIU", mode).env("FAKE_CRIU_NOTES", &self.notes);
        // Files, because a process that is left behind would hold pipes open.
        let file = |name: &str| fs::File::create(self.notes.join(name)).expect("file");
        command.stdout(file("out")).stderr(file("err"));
        command.current_dir(b.directory.path());
        command
    }

    pub(crate) fn call(&self, b: &Bench, mode: &str, args: &[&str]) -> Output {
        let status = self.command(b, mode, args).status().expect("runtime");
        let read = |name: &str| fs::read(self.notes.join(name)).expect("file");
        let stderr = String::from_utf8_lossy(&read("err")).replace("\\\"", "\"").into_bytes();
        Output { status, stdout: read("out"), stderr }
    }

    pub(crate) fn ok(&self, b: &Bench, mode: &str, args: &[&str]) {
        let output = self.call(b, mode, args);
        assert!(output.status.success(), "{mode} {args:?}: {output:?}");
    }

    pub(crate) fn refused(&self, b: &Bench, mode: &str, args: &[&str]) -> String {
        let output = self.call(b, mode, args);
        assert_eq!(output.status.code(), Some(1), "{mode} {args:?}: {output:?}");
        String::from_utf8(output.stderr).expect("UTF-8")
    }

    pub(crate) fn options(&self) -> Vec<Field> {
        parse(&fs::read(self.notes.join("options")).expect("options"))
    }

    pub(crate) fn pid(&self) -> i32 {
        fs::read_to_string(self.notes.join("pid")).expect("pid").parse().expect("number")
    }
}
