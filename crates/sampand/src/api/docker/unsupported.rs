//! Endpoints of the Engine API that aren't there yet, by name, and paths that are none.

use oci::Error;

/// Families of endpoints by their path's beginning.
const FAMILIES: &[&str] = &[
    "build",
    "commit",
    "configs",
    "distribution",
    "grpc",
    "nodes",
    "plugins",
    "secrets",
    "services",
    "session",
    "swarm",
    "tasks",
];

/// What to answer for `path`, which no route matches.
pub fn endpoint(path: &str) -> Error {
    let segments: Vec<&str> = path.split('/').skip(1).collect();
    match segments.as_slice() {
        [family, ..] if FAMILIES.contains(family) => Error::unsupported(format!("not implemented: {family} ({path})")),
        ["containers", _, "attach", "ws"] => Error::unsupported("not implemented: attach over websocket"),
        ["containers", _, "checkpoints", ..] => Error::unsupported("not implemented: checkpoints"),
        ["images", "search"] => Error::unsupported("not implemented: images/search"),
        _ => Error::not_found("page not found"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use oci::Kind;

    #[test]
    fn endpoints_of_the_api_are_refused_by_name_and_others_are_not_found() {
        for (path, name) in [
            ("/swarm/init", "swarm"),
            ("/build", "build"),
            ("/containers/x/attach/ws", "websocket"),
            ("/containers/x/checkpoints/y", "checkpoints"),
        ] {
            let error = endpoint(path);
            assert_eq!(error.kind(), Kind::Unsupported, "{path}");
            assert!(error.message().starts_with("not implemented: ") && error.message().contains(name));
        }
        assert_eq!(endpoint("/no/such/page").kind(), Kind::NotFound);
    }
}
