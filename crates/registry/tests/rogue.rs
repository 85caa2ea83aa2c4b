//! Against a server that stalls, cuts the line, lies, redirects and asks for tokens.

mod support;

use oci::Kind;
use oci::image::media;
use registry::{Config, Credentials, HostConfig, Pushed, Registry, Secret};
use std::io::Write;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;
use support::{Rogue, certificates, client, collect, config, descriptor, digest, have, image, noise, reply};

const NONE: Credentials = Credentials::Anonymous;
const MANIFEST: &[u8] = br#"{"schemaVersion":2,"mediaType":"application/vnd.oci.image.manifest.v1+json","config":{"mediaType":"x","digest":"sha256:0000000000000000000000000000000000000000000000000000000000000000","size":1},"layers":[]}"#;

fn manifest(stream: &mut std::net::TcpStream) -> bool {
    reply(stream, 200, &[("Content-Type", media::OCI_MANIFEST)], MANIFEST)
}

/// Head of a 206 for `of` bytes from `from` on.
fn partial(stream: &mut std::net::TcpStream, from: usize, of: usize) {
    let head = format!(
        "HTTP/1.1 206 X\r\nContent-Length: {}\r\nContent-Range: bytes {from}-{}/{of}\r\n\r\n",
        of - from,
        of - 1
    );
    stream.write_all(head.as_bytes()).unwrap();
}

#[tokio::test]
async fn a_cut_line_is_taken_up_where_it_broke() {
    let layer = Arc::new(noise(1_000_000));
    let bytes = layer.clone();
    let rogue = Rogue::start(move |seen, stream| {
        let from = seen.offset();
        if from == 0 {
            stream.write_all(format!("HTTP/1.1 200 X\r\nContent-Length: {}\r\n\r\n", bytes.len()).as_bytes()).unwrap();
        } else {
            partial(stream, from, bytes.len());
        }
        let to = (from + 300_000).min(bytes.len());
        let _ = stream.write_all(&bytes[from..to]);
        to == bytes.len()
    });
    let mut fetch = client().fetch_blob(&image(&rogue.place, "a"), &descriptor(&layer), 0, &NONE).unwrap();
    assert!(collect(&mut fetch).await.unwrap() == *layer);
    let offsets: Vec<usize> = rogue.requests().iter().map(support::Seen::offset).collect();
    assert_eq!(offsets, [0, 300_000, 600_000, 900_000]);
    assert_eq!(fetch.resumed(), 3);
}

#[tokio::test]
async fn a_server_without_ranges_is_read_from_the_start() {
    let layer = Arc::new(noise(500_000));
    let bytes = layer.clone();
    let rogue = Rogue::start(move |_, stream| reply(stream, 200, &[], &bytes));
    let target = image(&rogue.place, "a");
    let mut body = client().blob(&target, &descriptor(&layer), 123_456, &NONE).await.unwrap();
    assert!(body.range_ignored());
    let mut all = Vec::new();
    while let Some(piece) = body.chunk().await.unwrap() {
        all.extend_from_slice(&piece);
    }
    assert!(all == layer[123_456..]);
}

#[tokio::test]
async fn silence_and_trickle_end() {
    let layer = noise(100_000);
    for trickle in [false, true] {
        let rogue = Rogue::start(move |_, stream| {
            stream.write_all(b"HTTP/1.1 200 X\r\nContent-Length: 100000\r\n\r\n0123456789").unwrap();
            for _ in 0..100 {
                std::thread::sleep(Duration::from_millis(200));
                if trickle && stream.write_all(b"x").is_err() {
                    break;
                }
            }
            false
        });
        let registry = Registry::new(Config { retries: 0, ..config() });
        let mut fetch = registry.fetch_blob(&image(&rogue.place, "a"), &descriptor(&layer), 0, &NONE).unwrap();
        let error = collect(&mut fetch).await.unwrap_err();
        assert_eq!(error.kind(), Kind::DeadlineExceeded, "{error}");
        assert!(error.to_string().contains(&rogue.place) && error.to_string().contains("stalled"), "{error}");
    }
    let rogue = Rogue::start(|_, _| {
        std::thread::sleep(Duration::from_secs(30));
        false
    });
    let registry = Registry::new(Config { retries: 0, ..config() });
    let error = registry.resolve(&image(&rogue.place, "a"), &NONE).await.unwrap_err();
    assert!(error.to_string().contains("timeout awaiting response headers"), "{error}");
}

#[tokio::test]
async fn lies_about_length_are_seen() {
    let layer = noise(1000);
    let wanted = descriptor(&layer);
    // Announces another length than the manifest.
    let rogue = Rogue::start(|_, stream| reply(stream, 200, &[], &[0; 999]));
    let mut fetch = client().fetch_blob(&image(&rogue.place, "a"), &wanted, 0, &NONE).unwrap();
    let error = collect(&mut fetch).await.unwrap_err();
    assert_eq!(error.kind(), Kind::Corrupt, "{error}");
    assert!(error.to_string().contains("999") && error.to_string().contains("1000"), "{error}");
    assert_eq!(rogue.requests().len(), 1);
    // Announces nothing and sends too much, or too little.
    for (length, kind) in [(2000, Kind::Corrupt), (10, Kind::Unavailable)] {
        let rogue = Rogue::start(move |_, stream| {
            stream.write_all(b"HTTP/1.1 200 X\r\nTransfer-Encoding: chunked\r\n\r\n").unwrap();
            let _ = write!(stream, "{length:x}\r\n");
            let _ = stream.write_all(&vec![0; length]);
            stream.write_all(b"\r\n0\r\n\r\n").is_ok()
        });
        let registry = Registry::new(Config { retries: 1, ..config() });
        let mut body = registry.blob(&image(&rogue.place, "a"), &wanted, 0, &NONE).await.unwrap();
        let error = loop {
            match body.chunk().await {
                Ok(Some(_)) => {}
                Ok(None) => panic!("{length} bytes passed for 1000"),
                Err(error) => break error,
            }
        };
        assert_eq!(error.kind(), kind, "{error}");
    }
    // A range that is not the one asked for.
    let rogue = Rogue::start(|_, stream| {
        partial(stream, 0, 1000);
        stream.write_all(&[0; 1000]).is_ok()
    });
    let error = client().blob(&image(&rogue.place, "a"), &wanted, 10, &NONE).await.map(|_| ()).unwrap_err();
    assert_eq!(error.kind(), Kind::Corrupt, "{error}");
}

#[tokio::test]
async fn wrong_digests_and_huge_manifests_are_refused() {
    let other = digest(b"other").to_string();
    let header = other.clone();
    let rogue = Rogue::start(move |_, stream| {
        reply(stream, 200, &[("Content-Type", media::OCI_MANIFEST), ("Docker-Content-Digest", &header)], MANIFEST)
    });
    let error = client().resolve(&image(&rogue.place, "a"), &NONE).await.unwrap_err();
    assert_eq!(error.kind(), Kind::Corrupt);
    assert!(error.to_string().contains(&other), "{error}");

    let rogue = Rogue::start(|_, stream| manifest(stream));
    let pinned = image(&rogue.place, &format!("a@{other}"));
    let error = client().resolve(&pinned, &NONE).await.unwrap_err();
    assert!(error.kind() == Kind::Corrupt && error.to_string().contains("expected"), "{error}");
    let good = image(&rogue.place, &format!("a@{}", digest(MANIFEST)));
    client().resolve(&good, &NONE).await.unwrap();

    for chunked in [false, true] {
        let rogue = Rogue::start(move |_, stream| {
            let how = if chunked { "Transfer-Encoding: chunked" } else { "Content-Length: 1000000000000" };
            stream.write_all(format!("HTTP/1.1 200 X\r\n{how}\r\n\r\n").as_bytes()).unwrap();
            while stream.write_all(format!("10000\r\n{}\r\n", "x".repeat(65536)).as_bytes()).is_ok() {}
            false
        });
        let error = client().resolve(&image(&rogue.place, "a"), &NONE).await.unwrap_err();
        assert!(error.kind() == Kind::Corrupt && error.to_string().contains("limit"), "{error}");
    }
    let rogue = Rogue::start(|_, stream| {
        let _ = stream.write_all(b"HTTP/1.1 200 X\r\n");
        while stream.write_all(format!("X-Fill: {}\r\n", "x".repeat(8000)).as_bytes()).is_ok() {}
        false
    });
    let registry = Registry::new(Config { retries: 0, ..config() });
    let error = registry.resolve(&image(&rogue.place, "a"), &NONE).await.unwrap_err();
    assert_eq!(error.kind(), Kind::Unavailable, "{error}");
}

#[tokio::test]
async fn busy_servers_are_asked_again() {
    for (status, header) in [(503, ("X-A", "b")), (429, ("Retry-After", "0")), (500, ("X-A", "b"))] {
        let rogue =
            Rogue::start(
                move |seen, stream| {
                    if seen.number < 2 { reply(stream, status, &[header], b"") } else { manifest(stream) }
                },
            );
        client().resolve(&image(&rogue.place, "a"), &NONE).await.unwrap();
        assert_eq!(rogue.requests().len(), 3);
    }
    let body = br#"{"errors":[{"code":"TOOMANYREQUESTS","message":"You have reached your pull rate limit."}]}"#;
    let rogue = Rogue::start(move |_, stream| reply(stream, 429, &[("Retry-After", "3600")], body));
    let error = client().resolve(&image(&rogue.place, "a"), &NONE).await.unwrap_err();
    assert_eq!(error.to_string(), "toomanyrequests: You have reached your pull rate limit.");
    assert_eq!(rogue.requests().len(), 1);
}

#[tokio::test]
async fn connections_are_used_again_and_replaced_when_stale() {
    let rogue = Rogue::start(|seen, stream| manifest(stream) && seen.number != 2);
    let registry = client();
    for _ in 0..6 {
        registry.resolve(&image(&rogue.place, "a"), &NONE).await.unwrap();
    }
    assert_eq!(rogue.requests().len(), 6);
    assert_eq!(rogue.connections.load(Ordering::SeqCst), 2);
}

#[tokio::test]
async fn redirects_lose_the_authorization() {
    let layer = Arc::new(noise(10_000));
    let bytes = layer.clone();
    let cdn = Rogue::start(move |_, stream| reply(stream, 200, &[], &bytes));
    let place = cdn.place.replace("127.0.0.1", "localhost");
    let rogue = Rogue::start(move |seen, stream| match seen.header("authorization") {
        None => reply(stream, 401, &[("WWW-Authenticate", "Basic realm=\"x\"")], b""),
        Some(_) => reply(stream, 307, &[("Location", &format!("http://{place}/x?sig=hunter3"))], b""),
    });
    let joe = Credentials::basic("joe", "hunter2");
    let mut config = config();
    let headers = vec![("X-Secret".to_owned(), "hunter4".to_owned())];
    config.hosts.insert(rogue.place.clone(), HostConfig { headers, plain_http: true, ..HostConfig::default() });
    let mut fetch = Registry::new(config).fetch_blob(&image(&rogue.place, "a"), &descriptor(&layer), 0, &joe).unwrap();
    assert!(collect(&mut fetch).await.unwrap() == *layer);
    assert_eq!(rogue.requests()[1].header("authorization"), Some("Basic am9lOmh1bnRlcjI="));
    assert_eq!(rogue.requests()[1].header("x-secret"), Some("hunter4"));
    let at_cdn = &cdn.requests()[0];
    assert_eq!(at_cdn.path, "/x?sig=hunter3");
    assert_eq!((at_cdn.header("authorization"), at_cdn.header("x-secret")), (None, None));
    assert!(at_cdn.header("host").unwrap().starts_with("localhost:"));

    let rogue = Rogue::start(|_, stream| reply(stream, 302, &[("Location", "/again?sig=hunter3")], b""));
    let error = client().resolve(&image(&rogue.place, "a"), &NONE).await.unwrap_err();
    assert!(error.to_string().contains("stopped after 10 redirects"), "{error}");
    assert!(!error.to_string().contains("hunter3"), "{error}");
    assert_eq!(rogue.requests().len(), 11);
    let rogue = Rogue::start(|_, stream| reply(stream, 302, &[("Location", "file:///etc/passwd")], b""));
    assert!(client().resolve(&image(&rogue.place, "a"), &NONE).await.is_err());
}

/// A registry and its token server in one.
fn token_server(expires: u64) -> Rogue {
    let issued = AtomicUsize::new(0);
    Rogue::start(move |seen, stream| {
        let host = seen.header("host").unwrap();
        let good = |t: usize| format!("Bearer t{t}");
        if seen.path.starts_with("/token") {
            let body = String::from_utf8_lossy(&seen.body).into_owned();
            let known = match seen.method.as_str() {
                "POST" => body.contains("grant_type=refresh_token") && body.contains("refresh_token=r%2F1"),
                _ => seen.header("authorization") == Some("Basic am9lOmh1bnRlcjI="),
            };
            if !known {
                return reply(stream, 401, &[], br#"{"details":"incorrect username or password"}"#);
            }
            let number = issued.fetch_add(1, Ordering::SeqCst) + 1;
            let answer = format!(r#"{{"token":"t{number}","expires_in":{expires},"refresh_token":"r/1"}}"#);
            return reply(stream, 200, &[], answer.as_bytes());
        }
        let latest = issued.load(Ordering::SeqCst);
        if latest > 0 && seen.header("authorization") == Some(&good(latest)) {
            return manifest(stream);
        }
        let challenge = format!(r#"Bearer realm="http://{host}/token",service="s",scope="repository:a:pull""#);
        reply(stream, 401, &[("WWW-Authenticate", &challenge)], b"")
    })
}

#[tokio::test]
async fn tokens_are_fetched_once_and_kept() {
    let rogue = token_server(300);
    let registry = client();
    let joe = Credentials::basic("joe", "hunter2");
    let target = image(&rogue.place, "a");
    let (one, two, three) =
        tokio::join!(registry.resolve(&target, &joe), registry.resolve(&target, &joe), registry.resolve(&target, &joe));
    for result in [one, two, three] {
        result.unwrap();
    }
    registry.resolve(&target, &joe).await.unwrap();
    let asked: Vec<_> = rogue.requests().into_iter().filter(|r| r.path.starts_with("/token")).collect();
    assert_eq!(asked.len(), 1, "{asked:?}");
    assert_eq!(asked[0].path, "/token?service=s&scope=repository%3Aa%3Apull&account=joe");
    let refresh = Credentials::IdentityToken(Secret::new("r/1"));
    registry.resolve(&target, &refresh).await.unwrap();
    let last = rogue.requests().into_iter().rfind(|r| r.path.starts_with("/token")).unwrap();
    assert_eq!((last.method.as_str(), last.path.as_str()), ("POST", "/token"));
    let login = registry.login(&rogue.place, &joe).await.unwrap();
    assert_eq!(login.identity_token, Some(Secret::new("r/1")));

    let wrong = Credentials::basic("joe", "hunter3");
    let error = registry.resolve(&target, &wrong).await.unwrap_err();
    assert_eq!(error.kind(), Kind::Unauthorized);
    assert!(error.to_string().ends_with("unauthorized: incorrect username or password"), "{error}");
    assert!(!error.to_string().contains("hunter3"));
    assert!(registry.login(&rogue.place, &wrong).await.is_err());
}

#[tokio::test]
async fn a_token_for_too_little_is_access_denied() {
    let rogue = Rogue::start(|seen, stream| {
        let host = seen.header("host").unwrap();
        if seen.path.starts_with("/token") {
            return reply(stream, 200, &[], br#"{"access_token":"t"}"#);
        }
        let more = if seen.header("authorization").is_some() { r#",error="insufficient_scope""# } else { "" };
        let challenge = format!(r#"Bearer realm="http://{host}/token",service="s"{more}"#);
        let body = br#"{"errors":[{"code":"UNAUTHORIZED","message":"authentication required"}]}"#;
        reply(stream, 401, &[("WWW-Authenticate", &challenge)], body)
    });
    let target = image(&rogue.place, "a/b");
    let error = client().resolve(&target, &NONE).await.unwrap_err();
    let expected = format!(
        "pull access denied for {}/a/b, repository does not exist or may require 'docker login': \
         denied: requested access to the resource is denied",
        rogue.place
    );
    assert_eq!((error.kind(), error.to_string()), (Kind::NotFound, expected));
    let error = client().blob_exists(&target, &descriptor(b"x"), &NONE).await.unwrap_err();
    assert_eq!(error.kind(), Kind::PermissionDenied, "{error}");
}

#[tokio::test]
async fn mirrors_come_first_without_credentials() {
    let layer = Arc::new(noise(1000));
    let bytes = layer.clone();
    let origin =
        Rogue::start(
            move |seen, stream| {
                if seen.path.contains("/blobs/") { reply(stream, 200, &[], &bytes) } else { manifest(stream) }
            },
        );
    let mirror =
        Rogue::start(
            |seen, stream| {
                if seen.path.contains("/blobs/") { reply(stream, 404, &[], b"") } else { manifest(stream) }
            },
        );
    let mut config = config();
    let mirrors = vec!["http://127.0.0.1:1".to_owned(), format!("http://{}/cache", mirror.place)];
    config.hosts.insert(origin.place.clone(), HostConfig { mirrors, ..HostConfig::default() });
    let registry = Registry::new(config);
    let joe = Credentials::basic("joe", "hunter2");
    let target = image(&origin.place, "a");
    registry.resolve(&target, &joe).await.unwrap();
    assert_eq!(origin.requests().len(), 0);
    let expected = format!("/cache/v2/a/manifests/latest?ns={}", origin.place.replace(':', "%3A"));
    assert_eq!(mirror.requests()[0].path, expected);
    let mut fetch = registry.fetch_blob(&target, &descriptor(&layer), 0, &joe).unwrap();
    assert!(collect(&mut fetch).await.unwrap() == *layer);
    assert!(mirror.requests().iter().all(|r| r.header("authorization").is_none()));
}

#[tokio::test]
async fn proxies_are_used_for_others_than_loopback() {
    // The proxy itself answers what was asked of a host that does not exist.
    let proxy = Rogue::start(|_, stream| manifest(stream));
    let mut config = config();
    config.proxies = registry::Proxies::new(&format!("http://joe:hunter2@{}", proxy.place), "", "").unwrap();
    let plain = HostConfig { plain_http: true, ..HostConfig::default() };
    config.hosts.insert("reg.invalid:81".into(), plain.clone());
    Registry::new(config).resolve(&image("reg.invalid:81", "a"), &NONE).await.unwrap();
    let seen = &proxy.requests()[0];
    assert_eq!(seen.path, "http://reg.invalid:81/v2/a/manifests/latest");
    assert_eq!(seen.header("host"), Some("reg.invalid:81"));
    assert_eq!(seen.header("proxy-authorization"), Some("Basic am9lOmh1bnRlcjI="));

    let mut config = support::config();
    config.retries = 0;
    let refusing = Rogue::start(|_, stream| reply(stream, 403, &[], b""));
    config.proxies = registry::Proxies::new("", &refusing.place, "").unwrap();
    let error = Registry::new(config).resolve(&image("reg.invalid", "a"), &NONE).await.unwrap_err();
    assert!(error.to_string().contains("CONNECT reg.invalid:443 refused"), "{error}");
    assert_eq!(refusing.requests()[0].method, "CONNECT");
}

#[tokio::test]
async fn plain_http_is_refused_elsewhere_and_tls_is_not_downgraded() {
    if !have("openssl") {
        return;
    }
    // Another name for loopback that is not loopback's own: no fallback to plain HTTP.
    let rogue = Rogue::start(|_, stream| manifest(stream));
    let dir = tempfile::tempdir().unwrap();
    let (ca, ..) = certificates(dir.path(), "DNS:localhost", "2");
    let mut config = config();
    config.retries = 0;
    config.hosts.insert(rogue.place.clone(), HostConfig { ca_files: vec![ca], ..HostConfig::default() });
    let error = Registry::new(config).resolve(&image(&rogue.place, "a"), &NONE).await.unwrap_err();
    assert!(error.to_string().contains("server gave HTTP response to HTTPS client"), "{error}");
    assert_eq!(rogue.requests().len(), 0);
}

#[tokio::test]
async fn an_upload_goes_on_at_the_offset_the_registry_reached() {
    let layer = noise(1_000_000);
    let stored: Arc<std::sync::Mutex<Vec<u8>>> = Arc::default();
    let held = stored.clone();
    let rogue = Rogue::start(move |seen, stream| {
        let mut held = held.lock().unwrap();
        let range = format!("0-{}", held.len().saturating_sub(1));
        match seen.method.as_str() {
            "HEAD" => reply(stream, 404, &[], b""),
            "POST" => reply(stream, 202, &[("Location", "/up/1?s=a")], b""),
            "GET" => {
                assert_eq!(seen.path, "/up/1?s=b");
                reply(stream, 204, &[("Location", "/up/1?s=b"), ("Range", &range)], b"")
            }
            "PATCH" if held.is_empty() => {
                // Takes the first part and says so too early: the rest is asked for.
                held.extend_from_slice(&seen.body[..400_000]);
                reply(stream, 202, &[("Location", "/up/1?s=b"), ("Range", "0-399999")], b"")
            }
            "PATCH" => {
                assert_eq!(seen.header("content-range"), Some("400000-999999"));
                held.extend_from_slice(&seen.body);
                reply(stream, 202, &[("Location", "/up/1?s=c"), ("Range", "0-999999")], b"")
            }
            "PUT" => {
                assert!(seen.path.starts_with("/up/1?s=c&digest=sha256%3A"), "{}", seen.path);
                reply(stream, 201, &[], b"")
            }
            other => panic!("{other}"),
        }
    });
    let bytes = layer.clone();
    let source = Arc::new(move |offset: u64| {
        let rest = bytes[usize::try_from(offset).unwrap()..].to_vec();
        Ok(Box::new(std::io::Cursor::new(rest)) as Box<dyn std::io::Read + Send>)
    });
    let pushed =
        client().push_blob(&image(&rogue.place, "a"), &descriptor(&layer), source, None, &NONE, Arc::new(|_| {})).await;
    assert_eq!(pushed.unwrap(), Pushed::Uploaded);
    assert!(*stored.lock().unwrap() == layer);
}
