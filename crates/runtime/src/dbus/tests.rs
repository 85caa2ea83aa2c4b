//! A bus that is played by the test: known bytes, and everything that can go wrong on the line.

use std::thread;

use super::*;

const MANAGER: Target = Target {
    destination: "org.freedesktop.systemd1",
    path: "/org/freedesktop/systemd1",
    interface: "org.freedesktop.systemd1.Manager",
};

/// Reads what a client sends until it has said `count` messages after its greeting; those messages.
fn hear(stream: &mut UnixStream, greeted: &mut bool, count: usize) -> Vec<Message> {
    let mut bytes = Vec::new();
    let mut messages = Vec::new();
    while messages.len() < count {
        let mut chunk = [0; 4096];
        let length = stream.read(&mut chunk).expect("read");
        assert!(length > 0, "the client has gone");
        bytes.extend_from_slice(&chunk[..length]);
        if !*greeted {
            let begin = b"BEGIN\r\n";
            let Some(at) = bytes.windows(begin.len()).position(|w| w == begin) else { continue };
            assert_eq!(&bytes[..at], b"\0AUTH EXTERNAL\r\nDATA\r\n");
            bytes.drain(..at + begin.len());
            *greeted = true;
        }
        while let Some(length) = message_length(&bytes).expect("a message").filter(|l| *l <= bytes.len()) {
            let message: Vec<u8> = bytes.drain(..length).collect();
            messages.push(parse(&message).expect("a message"));
        }
    }
    messages
}

fn field(code: u8, value: Value) -> Value {
    Value::Struct(vec![Value::Byte(code), value.variant()])
}

fn answer(kind: u8, mut fields: Vec<Value>, body: &[Value]) -> Vec<u8> {
    let mut payload = Writer::default();
    body.iter().for_each(|v| payload.value(v));
    fields.push(field(8, Value::Signature(signature_of(body))));
    let mut message = Writer { bytes: vec![b'l', kind, 0, 1] };
    message.u32(payload.bytes.len() as u32);
    message.u32(99);
    message.value(&Value::Array("(yv)".into(), fields));
    message.align(8);
    message.bytes.extend(payload.bytes);
    message.bytes
}

fn returned(serial: u32, body: &[Value]) -> Vec<u8> {
    answer(RETURN, vec![field(5, Value::Uint32(serial))], body)
}

fn signalled(member: &str, body: &[Value]) -> Vec<u8> {
    answer(SIGNAL, vec![field(2, Value::str(MANAGER.interface)), field(3, Value::str(member))], body)
}

/// A client whose bus is played by `play`, which is called once the greeting is heard and answered.
fn with_bus(play: impl FnOnce(UnixStream) + Send + 'static) -> (Result<Connection>, thread::JoinHandle<()>) {
    let (ours, mut theirs) = UnixStream::pair().expect("pair");
    let bus = thread::spawn(move || {
        let hello = hear(&mut theirs, &mut false, 1);
        assert_eq!(hello[0].member.as_deref(), Some("Hello"));
        let mut reply = b"DATA\r\nOK 0123456789abcdef\r\n".to_vec();
        reply.extend(returned(1, &[Value::str(":1.5")]));
        theirs.write_all(&reply).expect("write");
        play(theirs);
    });
    (Connection::with_timeout(ours, true, Duration::from_millis(300)), bus)
}

#[test]
fn a_call_has_the_bytes_that_other_clients_send() {
    let (ours, mut theirs) = UnixStream::pair().expect("pair");
    theirs.write_all(b"OK 00\r\n").expect("write");
    // Two peers without a bus: no Hello, no destination.
    let mut connection = Connection::with_timeout(ours, false, Duration::from_millis(300)).expect("connected");
    let target = Target { destination: "a.b", path: "/a", interface: "a.b" };
    assert_eq!(connection.message(CALL, &target, "M", &[Value::str("hi")], false), {
        let mut bytes = b"l\x01\0\x01\x07\0\0\0\x01\0\0\0\x37\0\0\0".to_vec();
        bytes.extend_from_slice(b"\x01\x01o\0\x02\0\0\0/a\0\0\0\0\0\0");
        bytes.extend_from_slice(b"\x02\x01s\0\x03\0\0\0a.b\0\0\0\0\0");
        bytes.extend_from_slice(b"\x03\x01s\0\x01\0\0\0M\0\0\0\0\0\0\0");
        bytes.extend_from_slice(b"\x08\x01g\0\x01s\0\0");
        bytes.extend_from_slice(b"\x02\0\0\0hi\0");
        bytes
    });
}

#[test]
fn signals_that_come_before_the_answer_are_kept() {
    let (connection, bus) = with_bus(|mut stream| {
        let heard = hear(&mut stream, &mut true, 2);
        assert_eq!(heard[0].member.as_deref(), Some("AddMatch"));
        assert_eq!(heard[1].member.as_deref(), Some("StopUnit"));
        assert_eq!(heard[1].body, [Value::str("x.scope"), Value::str("replace")]);
        for (job, result) in [("/job/1", "failed"), ("/job/2", "done")] {
            let body = [Value::Uint32(1), Value::Path(job.into()), Value::str("x.scope"), Value::str(result)];
            stream.write_all(&signalled("JobRemoved", &body)).expect("write");
        }
        // In two pieces, as a stream may.
        let bytes = returned(3, &[Value::Path("/job/2".into())]);
        stream.write_all(&bytes[..20]).expect("write");
        thread::sleep(Duration::from_millis(5));
        stream.write_all(&bytes[20..]).expect("write");
    });
    let mut connection = connection.expect("connected");
    connection.subscribe(&MANAGER, "JobRemoved").expect("subscribed");
    let job = connection.call(&MANAGER, "StopUnit", &[Value::str("x.scope"), Value::str("replace")]).expect("answered");
    assert_eq!(job, [Value::Path("/job/2".into())]);
    let result = connection
        .signal(MANAGER.interface, "JobRemoved", |body| (body[1] == job[0]).then(|| body[3].clone()))
        .expect("signalled");
    assert_eq!(result, Value::str("done"));
    bus.join().expect("the bus is content");
}

#[test]
fn a_refusal_has_its_name() {
    let (connection, bus) = with_bus(|mut stream| {
        hear(&mut stream, &mut true, 1);
        let name = "org.freedesktop.systemd1.NoSuchUnit";
        let fields = vec![field(5, Value::Uint32(2)), field(4, Value::str(name))];
        stream.write_all(&answer(ERROR, fields, &[Value::str("Unit x.scope not loaded.")])).expect("write");
    });
    let failure = connection.expect("connected").call(&MANAGER, "StopUnit", &[]).expect_err("refused");
    assert!(matches!(&failure, Failure::Refused { name, .. } if name.ends_with(".NoSuchUnit")), "{failure:?}");
    let error = Error::from(failure);
    assert_eq!((error.kind(), error.to_string().as_str()), (oci::Kind::NotFound, "Unit x.scope not loaded."));
    bus.join().expect("the bus is content");
}

#[test]
fn a_closed_line_is_an_error() {
    let (connection, bus) = with_bus(drop);
    let failure = connection.expect("connected").call(&MANAGER, "StopUnit", &[]).expect_err("closed");
    assert_eq!(Error::from(failure).kind(), oci::Kind::Unavailable);
    bus.join().expect("the bus is content");
    // Also before anything was said.
    let (ours, theirs) = UnixStream::pair().expect("pair");
    drop(theirs);
    assert_eq!(Connection::new(ours, true).expect_err("closed").kind(), oci::Kind::Unavailable);
}

#[test]
fn a_silent_bus_is_not_waited_for_for_ever() {
    let (ours, _theirs) = UnixStream::pair().expect("pair");
    let error = Connection::with_timeout(ours, true, Duration::from_millis(50)).expect_err("silence");
    assert_eq!(error.kind(), oci::Kind::DeadlineExceeded);
    let (done, wait) = std::sync::mpsc::channel::<()>();
    let (connection, bus) = with_bus(move |mut stream| {
        hear(&mut stream, &mut true, 1);
        // Talk that leads nowhere does not move the deadline.
        while stream.write_all(&signalled("UnitNew", &[])).is_ok() && wait.try_recv().is_err() {
            thread::sleep(Duration::from_millis(10));
        }
    });
    let mut connection = connection.expect("connected");
    let failure = connection.call(&MANAGER, "StopUnit", &[]).expect_err("no answer");
    assert_eq!(Error::from(failure).kind(), oci::Kind::DeadlineExceeded);
    let signal = connection.signal(MANAGER.interface, "JobRemoved", |_| Some(()));
    assert_eq!(signal.expect_err("no such signal").kind(), oci::Kind::DeadlineExceeded);
    drop(connection);
    let _ = done.send(());
    bus.join().expect("the bus is content");
}

#[test]
fn strangers_are_recognized() {
    for (said, kind) in [
        (&b"REJECTED EXTERNAL\r\n"[..], oci::Kind::PermissionDenied),
        (b"HTTP/1.1 400 Bad Request\r\n", oci::Kind::Corrupt),
        (b"DATA\r\nDATA\r\nDATA\r\nDATA\r\nDATA\r\nDATA\r\nDATA\r\nDATA\r\n", oci::Kind::Corrupt),
        (b"OK 00\r\nx1234567890123456", oci::Kind::Corrupt),
        (b"OK 00\r\nl\x02\0\x01\xff\xff\xff\xff\0\0\0\0\0\0\0\0", oci::Kind::Corrupt),
        (b"OK 00\r\nl\x02\0\x01\0\0\0\0\0\0\0\0\x08\0\0\0zzzzzzzz", oci::Kind::Corrupt),
    ] {
        let (ours, mut theirs) = UnixStream::pair().expect("pair");
        theirs.write_all(said).expect("write");
        let error = Connection::with_timeout(ours, true, Duration::from_millis(300)).expect_err("a stranger");
        assert_eq!(error.kind(), kind, "{}: {error}", String::from_utf8_lossy(said));
    }
    // And one that never ends its line.
    let (ours, mut theirs) = UnixStream::pair().expect("pair");
    let talker = thread::spawn(move || while theirs.write_all(&[b'x'; 4096]).is_ok() {});
    assert_eq!(Connection::new(ours, true).expect_err("a stranger").kind(), oci::Kind::Corrupt);
    talker.join().expect("talker");
}
