//! What a careless or hostile client sends to the door.

use sampan_tests::{Node, World};

#[test]
fn the_door_answers_bad_requests_with_one_clear_error() {
    let world = World::new();
    let node = Node::new(&world);
    let post = |path: &str, body: &str| {
        let head =
            format!("POST {path} HTTP/1.1\r\nHost: d\r\nConnection: close\r\nContent-Type: application/json\r\n");
        node.raw(&format!("{head}Content-Length: {}\r\n\r\n{body}", body.len())).expect("an answer")
    };
    let malformed = post("/v1.43/containers/create", "{\"Image\": ");
    assert!(malformed.starts_with("HTTP/1.1 400 "), "{malformed}");
    let missing = post("/v1.43/containers/create", "{\"Image\": \"absent-image:1\"}");
    assert!(missing.starts_with("HTTP/1.1 404 ") && missing.contains("absent-image:1"), "{missing}");
    let wrong_type = post("/v1.43/containers/create", "{\"Image\": 5}");
    assert!(wrong_type.starts_with("HTTP/1.1 400 "), "{wrong_type}");
    let unknown = post("/v1.43/swarm/init", "{}");
    assert!(unknown.starts_with("HTTP/1.1 501 ") && unknown.contains("swarm"), "{unknown}");
    let nowhere = node.get("/v1.43/no/such/page").expect("an answer");
    assert!(nowhere.contains("404") || nowhere.contains("501"), "{nowhere}");
    let too_old = node.get("/v1.10/info").expect("an answer");
    assert!(too_old.contains(" 400 ") && too_old.contains("too old"), "{too_old}");
    let too_new = node.get("/v9.99/info").expect("an answer");
    assert!(too_new.contains(" 400 ") && too_new.contains("too new"), "{too_new}");
    let huge = format!("{{\"Image\": \"{}\"}}", "x".repeat(20_000_000));
    let refused = post("/v1.43/containers/create", &huge);
    assert!(refused.contains(" 413 ") || refused.contains(" 400 "), "{}", &refused[..refused.len().min(200)]);
    assert!(node.get("/_ping").expect("an answer").contains("200 OK"));
    node.assert_clean();
}
