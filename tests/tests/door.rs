//! The Docker door with the real `docker` command: what went wrong once, and what clients race against.

use sampan_tests::terminal::Terminal;
use sampan_tests::{Node, Registry, World, images, peer};

macro_rules! node_with_busybox {
    ($world:ident, $node:ident, $registry:ident, $image:ident) => {
        if peer("docker").is_none() {
            return;
        }
        let $world = World::new();
        let Some($registry) = Registry::start(&$world, 5000) else { return };
        $registry.push(&images::busybox(), "latest", "busybox");
        let $node = Node::new(&$world);
        let $image = $registry.name("busybox:latest");
        $node.docker(&["pull", "-q", &$image]).ok();
    };
}

#[test]
fn an_exec_s_code_is_there_when_its_stream_ends() {
    node_with_busybox!(world, node, registry, image);
    node.docker(&["run", "-d", "--name", "box", &image, "sleep", "1000"]).ok();
    for round in 0..40 {
        let ran = node.docker(&["exec", "box", "sh", "-c", "exit 4"]);
        assert_eq!(ran.code, 4, "round {round}: {ran:?}");
    }
    node.docker(&["rm", "-f", "box"]).ok();
    node.assert_clean();
}

#[test]
fn a_stopped_container_starts_again_with_its_files() {
    node_with_busybox!(world, node, registry, image);
    node.docker(&["run", "--name", "box", &image, "sh", "-c", "echo x >> /kept; wc -l < /kept"]).ok();
    for lines in 2..5 {
        let shown = node.docker(&["start", "-a", "box"]).ok();
        assert_eq!(shown.trim(), lines.to_string());
    }
    node.docker(&["rm", "box"]).ok();
    node.assert_clean();
}

#[test]
fn detach_keys_leave_the_container_running() {
    node_with_busybox!(world, node, registry, image);
    let mut command = node.docker_command();
    command.args(["run", "-it", "--name", "box", &image, "sh"]);
    let mut terminal = Terminal::spawn(&command, 91, 33);
    terminal.expect("#");
    terminal.send("\u{10}\u{11}");
    assert_eq!(terminal.wait(), 0);
    assert_eq!(node.inspect("box", "{{.State.Status}}"), "running");
    let mut command = node.docker_command();
    command.args(["attach", "--detach-keys", "a,b", "box"]);
    let mut terminal = Terminal::spawn(&command, 91, 33);
    terminal.send("\n");
    terminal.expect("#");
    terminal.send("ab");
    assert_eq!(terminal.wait(), 1, "docker's own code for a detached attach");
    assert_eq!(node.inspect("box", "{{.State.Status}}"), "running");
    node.docker(&["rm", "-f", "box"]).ok();
    node.assert_clean();
}

#[test]
fn an_early_failure_has_a_status_of_its_own() {
    node_with_busybox!(world, node, registry, image);
    let absent = registry.name("absent").replace('/', "%2F").replace(':', "%3A");
    let path = format!("/v1.43/images/create?fromImage={absent}&tag=1");
    let answer = node.raw(&format!("POST {path} HTTP/1.0\r\nHost: d\r\nContent-Length: 0\r\n\r\n")).expect("an answer");
    assert!(answer.contains(" 404 ") && answer.contains("absent"), "{answer}");
    node.docker(&["pull", &registry.name("absent:1")]).fails(1, "Error response from daemon");
    node.docker(&["rmi", &image]).ok();
    node.assert_clean();
}

/// The Python SDK reads the answer's head through a buffer and then goes over to the bare socket: what the buffer has
/// swallowed beyond the head is lost.
#[test]
fn an_upgraded_connection_carries_nothing_before_its_head_is_read() {
    use std::io::{Read, Write};
    node_with_busybox!(world, node, registry, image);
    node.docker(&["run", "-d", "--name", "box", &image, "sleep", "1000"]).ok();
    let post = |path: &str, more: &str, body: &str| {
        format!(
            "POST {path} HTTP/1.1\r\nHost: d\r\n{more}Content-Type: application/json\r\nContent-Length: {}\r\n\r\n{body}",
            body.len()
        )
    };
    let body = r#"{"AttachStdout":true,"Cmd":["echo","all of it"]}"#;
    let made = node.raw(&post("/v1.43/containers/box/exec", "Connection: close\r\n", body)).expect("an answer");
    let id = made.split('"').nth(3).expect("an id");
    let mut stream = std::os::unix::net::UnixStream::connect(node.socket()).expect("connect");
    let upgrade = "Connection: Upgrade\r\nUpgrade: tcp\r\n";
    let start = post(&format!("/v1.43/exec/{id}/start"), upgrade, r#"{"Detach":false,"Tty":false}"#);
    stream.write_all(start.as_bytes()).expect("write");
    // Slower than the process: its output is there long before the head is read.
    std::thread::sleep(std::time::Duration::from_millis(300));
    let mut buffer = [0; 8192];
    let length = stream.read(&mut buffer).expect("read");
    let head = String::from_utf8_lossy(&buffer[..length]).into_owned();
    assert!(head.starts_with("HTTP/1.1 101 ") && head.ends_with("\r\n\r\n"), "{head:?}");
    let mut rest = Vec::new();
    stream.read_to_end(&mut rest).expect("read");
    assert_eq!(rest, b"\x01\0\0\0\0\0\0\x0aall of it\n");
    node.docker(&["rm", "-f", "box"]).ok();
    node.assert_clean();
}

#[test]
fn a_command_that_is_not_there_is_the_callers_mistake() {
    node_with_busybox!(world, node, registry, image);
    node.docker(&["create", "--name", "box", &image, "no-such"]).ok();
    let answer = node.raw("POST /v1.43/containers/box/start HTTP/1.0\r\nHost: d\r\nContent-Length: 0\r\n\r\n");
    let answer = answer.expect("an answer");
    assert!(answer.contains(" 400 ") && answer.contains("executable file not found"), "{answer}");
    node.docker(&["rm", "box"]).ok();
    node.assert_clean();
}
