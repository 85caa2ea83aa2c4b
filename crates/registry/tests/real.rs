//! Against Debian's docker-registry.

mod support;

use bytes::Bytes;
use oci::Kind;
use oci::image::{Descriptor, ImageConfig, Manifest, RootFs, media};
use registry::{Config, Credentials, HostConfig, Pushed, Registry};
use std::io::{Cursor, Read};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use support::{RealRegistry, certificates, client, collect, config, descriptor, digest, have, image, noise, openssl};

const NONE: Credentials = Credentials::Anonymous;

fn source(bytes: &[u8]) -> Arc<dyn registry::BlobSource> {
    let bytes = Bytes::copy_from_slice(bytes);
    Arc::new(move |offset: u64| {
        let rest = bytes.slice(usize::try_from(offset).unwrap()..);
        Ok(Box::new(Cursor::new(rest)) as Box<dyn Read + Send>)
    })
}

async fn push(
    registry: &Registry,
    place: &str,
    name: &str,
    layer: &[u8],
    credentials: &Credentials,
) -> oci::Result<Bytes> {
    let target = image(place, name);
    let quiet = Arc::new(|_| {});
    registry.push_blob(&target, &descriptor(layer), source(layer), None, credentials, quiet.clone()).await?;
    let settings = serde_json::to_vec(&ImageConfig {
        created: None,
        author: None,
        platform: oci::Platform::host(),
        config: None,
        rootfs: RootFs { kind: "layers".into(), diff_ids: vec![] },
        history: None,
    })
    .unwrap();
    let config = Descriptor { media_type: media::OCI_CONFIG.into(), ..descriptor(&settings) };
    registry.push_blob(&target, &config, source(&settings), None, credentials, quiet).await?;
    let manifest = Manifest {
        schema_version: 2,
        media_type: Some(media::OCI_MANIFEST.into()),
        artifact_type: None,
        config,
        layers: vec![descriptor(layer)],
        annotations: Default::default(),
    };
    let body = Bytes::from(serde_json::to_vec(&manifest).unwrap());
    let tag = target.tag().unwrap();
    registry.push_manifest(&target, tag, media::OCI_MANIFEST, body.clone(), credentials).await?;
    Ok(body)
}

#[tokio::test]
async fn an_image_goes_up_and_comes_down() {
    let Some(real) = RealRegistry::start() else { return };
    let registry = client();
    let layer = noise(3_000_000);
    let body = push(&registry, &real.place, "dir/a:one", &layer, &NONE).await.unwrap();

    let target = image(&real.place, "dir/a:one");
    let resolved = registry.resolve(&target, &NONE).await.unwrap();
    assert_eq!((resolved.body.clone(), resolved.descriptor.media_type.as_str()), (body.clone(), media::OCI_MANIFEST));
    assert_eq!(registry.head(&target, &NONE).await.unwrap().unwrap(), resolved.descriptor);
    let (media_type, again) = registry.manifest(&target, &digest(&body), &NONE).await.unwrap();
    assert_eq!((media_type.as_str(), again), (media::OCI_MANIFEST, body));
    for start in [0, 1, 2_999_999, 3_000_000] {
        let mut fetch = registry.fetch_blob(&target, &descriptor(&layer), start, &NONE).unwrap();
        assert_eq!(collect(&mut fetch).await.unwrap(), layer[usize::try_from(start).unwrap()..], "from {start}");
    }
    push(&registry, &real.place, "dir/a:two", &layer, &NONE).await.unwrap();
    let mut tags = registry.tags(&target, &NONE).await.unwrap();
    tags.sort();
    assert_eq!(tags, ["one", "two"]);
}

#[tokio::test]
async fn blobs_are_sent_once_and_mounted_where_possible() {
    let Some(real) = RealRegistry::start() else { return };
    let registry = client();
    let layer = noise(1_000_000);
    let (a, b, c) = (image(&real.place, "a"), image(&real.place, "b"), image(&real.place, "c"));
    let most = Arc::new(AtomicU64::new(0));
    let watch = most.clone();
    let progress: Arc<dyn Fn(u64) + Send + Sync> = Arc::new(move |n| {
        watch.fetch_max(n, Ordering::Relaxed);
    });
    let push = |to, from| {
        registry.push_blob(to, LAYER.get_or_init(|| descriptor(&layer)), source(&layer), from, &NONE, progress.clone())
    };
    static LAYER: std::sync::OnceLock<Descriptor> = std::sync::OnceLock::new();
    assert_eq!(push(&a, None).await.unwrap(), Pushed::Uploaded);
    assert_eq!(most.load(Ordering::Relaxed), 1_000_000);
    assert_eq!(push(&a, None).await.unwrap(), Pushed::Existed);
    assert_eq!(push(&b, Some(&a)).await.unwrap(), Pushed::Mounted);
    assert!(registry.mount_blob(&c, &digest(&layer), &b, &NONE).await.unwrap());
    assert!(!registry.mount_blob(&c, &digest(b"absent"), &b, &NONE).await.unwrap());
    assert!(registry.blob_exists(&c, &descriptor(&layer), &NONE).await.unwrap());
    assert!(!registry.blob_exists(&c, &descriptor(b"absent"), &NONE).await.unwrap());
    let empty = descriptor(b"");
    assert_eq!(
        registry.push_blob(&c, &empty, source(b""), None, &NONE, progress.clone()).await.unwrap(),
        Pushed::Uploaded
    );
}

#[tokio::test]
async fn a_source_that_ends_early_leaves_no_blob() {
    let Some(real) = RealRegistry::start() else { return };
    let registry = client();
    let layer = noise(4_000_000);
    let opened: Arc<Mutex<Vec<u64>>> = Arc::default();
    let (bytes, log) = (layer.clone(), opened.clone());
    let short = Arc::new(move |offset: u64| {
        let mut log = log.lock().unwrap();
        log.push(offset);
        let rest = bytes[usize::try_from(offset).unwrap()..].to_vec();
        let reader: Box<dyn Read + Send> = match log.len() {
            // The file seems to end early, which cuts the line in the middle of the body.
            1 => Box::new(Cursor::new(rest).take(2_500_000)),
            _ => Box::new(Cursor::new(rest)),
        };
        Ok(reader)
    });
    let result =
        registry.push_blob(&image(&real.place, "a"), &descriptor(&layer), short, None, &NONE, Arc::new(|_| {})).await;
    // A source that ends early is our own side's defect, and final.
    let error = result.unwrap_err();
    assert!(error.to_string().contains("ended early"), "{error}");
    assert_eq!(*opened.lock().unwrap(), [0]);
    assert!(!registry.blob_exists(&image(&real.place, "a"), &descriptor(&layer), &NONE).await.unwrap());
}

#[tokio::test]
async fn a_broken_upload_is_taken_up_again() {
    let Some(real) = RealRegistry::start() else { return };
    let place = support::cutter(&real.place, 3_000_000);
    let layer = noise(8_000_000);
    let opened: Arc<Mutex<Vec<u64>>> = Arc::default();
    let (bytes, log) = (source(&layer), opened.clone());
    let watched = Arc::new(move |offset: u64| {
        log.lock().unwrap().push(offset);
        bytes.open(offset)
    });
    let target = image(&place, "a");
    let pushed = client().push_blob(&target, &descriptor(&layer), watched, None, &NONE, Arc::new(|_| {})).await;
    assert_eq!(pushed.unwrap(), Pushed::Uploaded);
    let opened = opened.lock().unwrap().clone();
    // This registry (2.8) refuses to go on within an upload that was cut, so it begins anew.
    assert_eq!(opened.len(), 2, "{opened:?}");
    let mut fetch = client().fetch_blob(&image(&real.place, "a"), &descriptor(&layer), 0, &NONE).unwrap();
    assert!(collect(&mut fetch).await.unwrap() == layer);
}

#[tokio::test]
async fn refusals_are_in_dockers_words() {
    let Some(real) = RealRegistry::start() else { return };
    let registry = client();
    let absent = image(&real.place, "absent:x");
    let error = registry.resolve(&absent, &NONE).await.unwrap_err();
    let expected = format!("manifest for {absent} not found: manifest unknown: manifest unknown");
    assert_eq!((error.kind(), error.to_string()), (Kind::NotFound, expected));
    assert_eq!(registry.head(&absent, &NONE).await.unwrap(), None);
    let error = registry.tags(&absent, &NONE).await.unwrap_err();
    assert_eq!(error.kind(), Kind::NotFound);
    let mut fetch = registry.fetch_blob(&absent, &descriptor(b"x"), 0, &NONE).unwrap();
    let error = collect(&mut fetch).await.unwrap_err();
    assert!(error.to_string().contains("blob unknown"), "{error}");
    // The manifest names a layer that is not there.
    let body = Bytes::from(
        serde_json::to_vec(&Manifest {
            schema_version: 2,
            media_type: Some(media::OCI_MANIFEST.into()),
            artifact_type: None,
            config: descriptor(b"x"),
            layers: vec![],
            annotations: Default::default(),
        })
        .unwrap(),
    );
    let error = registry.push_manifest(&absent, "x", media::OCI_MANIFEST, body, &NONE).await.unwrap_err();
    assert_eq!(error.kind(), Kind::InvalidArgument, "{error}");
    // Nobody listens.
    let error = registry.resolve(&image("127.0.0.1:1", "a"), &NONE).await.unwrap_err();
    assert_eq!(error.to_string(), "dial tcp 127.0.0.1:1: connect: connection refused");
    let error = registry.resolve(&image("no-such-host.invalid", "a"), &NONE).await.unwrap_err();
    assert!(error.to_string().starts_with("lookup no-such-host.invalid:"), "{error}");
}

/// Perl's crypt knows bcrypt, which is all that docker-registry reads in an htpasswd file.
fn htpasswd(dir: &std::path::Path, user: &str, password: &str) -> bool {
    let script = r#"print crypt($ARGV[0], '$2y$05$abcdefghijklmnopqrstuu')"#;
    let Ok(output) = std::process::Command::new("perl").args(["-e", script, password]).output() else { return false };
    let hash = String::from_utf8(output.stdout).unwrap();
    std::fs::write(dir.join("htpasswd"), format!("{user}:{hash}\n")).unwrap();
    hash.starts_with("$2y$05$") && hash.len() == 60
}

#[tokio::test]
async fn basic_authentication() {
    let more = |dir: &std::path::Path| {
        if !htpasswd(dir, "joe", "hunter2") {
            return String::new();
        }
        format!("auth:\n  htpasswd:\n    realm: test\n    path: {}/htpasswd\n", dir.display())
    };
    let Some(real) = RealRegistry::start_with("", more) else { return };
    if !real.dir.path().join("htpasswd").exists() {
        eprintln!("skipped: perl cannot make an htpasswd file");
        return;
    }
    let registry = client();
    let joe = Credentials::basic("joe", "hunter2");
    let wrong = Credentials::basic("joe", "hunter3");
    push(&registry, &real.place, "a", b"layer", &joe).await.unwrap();
    let target = image(&real.place, "a");
    registry.resolve(&target, &joe).await.unwrap();
    let error = registry.resolve(&target, &NONE).await.unwrap_err();
    assert_eq!(error.kind(), Kind::Unauthorized);
    assert!(error.to_string().contains("no basic auth credentials"), "{error}");
    let error = registry.resolve(&target, &wrong).await.unwrap_err();
    assert_eq!(
        (error.kind(), error.to_string().as_str()),
        (Kind::Unauthorized, "unauthorized: authentication required")
    );
    let error = push(&registry, &real.place, "a", b"layer", &wrong).await.unwrap_err();
    assert!(!format!("{error:?}").contains("hunter3"));
    registry.login(&real.place, &joe).await.unwrap();
    let error = registry.login(&real.place, &wrong).await.unwrap_err();
    assert_eq!(error.kind(), Kind::Unauthorized, "{error}");
}

#[tokio::test]
async fn tls_with_an_authority_of_our_own() {
    if !have("openssl") {
        return;
    }
    let certs = tempfile::tempdir().unwrap();
    let (ca, server, key) = certificates(certs.path(), "DNS:localhost", "2");
    let http = format!("  tls:\n    certificate: {}\n    key: {}\n", server.display(), key.display());
    let Some(real) = RealRegistry::start_with(&http, |_| String::new()) else { return };
    let port = real.place.rsplit_once(':').unwrap().1;
    let named = format!("localhost:{port}");

    // Loopback without settings: TLS, any certificate.
    push(&client(), &real.place, "a", b"layer", &NONE).await.unwrap();

    // With the authority in docker's directory, the certificate and its name count.
    let dir = tempfile::tempdir().unwrap();
    for place in [&named, &real.place] {
        std::fs::create_dir(dir.path().join(place)).unwrap();
        std::fs::copy(&ca, dir.path().join(place).join("ca.crt")).unwrap();
    }
    let strict = Registry::new(Config { certs_dir: Some(dir.path().into()), ..config() });
    strict.resolve(&image(&named, "a"), &NONE).await.unwrap();
    let error = strict.resolve(&image(&real.place, "a"), &NONE).await.unwrap_err();
    assert!(error.to_string().contains("x509: certificate is valid for"), "{error}");
    assert!(error.to_string().contains("127.0.0.1"), "{error}");

    // An authority that did not sign it.
    let other = tempfile::tempdir().unwrap();
    let (wrong, ..) = certificates(other.path(), "DNS:localhost", "2");
    let mut settings = config();
    settings.hosts.insert(named.clone(), HostConfig { ca_files: vec![wrong], ..HostConfig::default() });
    let error = Registry::new(settings.clone()).resolve(&image(&named, "a"), &NONE).await.unwrap_err();
    assert!(error.to_string().contains("x509: certificate signed by unknown authority"), "{error}");
    assert!(error.to_string().contains("localhost"), "{error}");
    settings
        .hosts
        .insert(named.clone(), HostConfig { ca_files: vec!["/nonexistent/ca.crt".into()], ..HostConfig::default() });
    let error = Registry::new(settings).resolve(&image(&named, "a"), &NONE).await.unwrap_err();
    assert!(error.to_string().contains("/nonexistent/ca.crt"), "{error}");
}

#[tokio::test]
async fn a_self_signed_certificate_and_a_client_certificate() {
    if !have("openssl") {
        return;
    }
    let certs = tempfile::tempdir().unwrap();
    let curve = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "2"];
    let mut own = vec!["req", "-x509", "-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost"];
    own.extend(["-keyout", "own.key", "-out", "own.crt"]);
    own.extend(curve);
    openssl(certs.path(), &own);
    let mut user = vec!["req", "-x509", "-subj", "/CN=joe", "-keyout", "joe.key", "-out", "joe.cert"];
    user.extend(curve);
    openssl(certs.path(), &user);
    let path = |name: &str| certs.path().join(name);
    let http = format!(
        "  tls:\n    certificate: {0}/own.crt\n    key: {0}/own.key\n    clientcas:\n      - {0}/joe.cert\n",
        certs.path().display()
    );
    let Some(real) = RealRegistry::start_with(&http, |_| String::new()) else { return };
    let named = format!("localhost:{}", real.place.rsplit_once(':').unwrap().1);
    let dir = tempfile::tempdir().unwrap();
    let host = dir.path().join(&named);
    std::fs::create_dir(&host).unwrap();
    std::fs::copy(path("own.crt"), host.join("ca.crt")).unwrap();
    let settings = Config { certs_dir: Some(dir.path().into()), ..config() };
    let anonymous = Registry::new(Config { retries: 0, ..settings.clone() });
    assert!(anonymous.resolve(&image(&named, "a"), &NONE).await.is_err());
    std::fs::copy(path("joe.cert"), host.join("joe.cert")).unwrap();
    let error = anonymous.resolve(&image(&named, "a"), &NONE).await.unwrap_err();
    assert!(error.to_string().contains("missing") && error.to_string().contains("joe.key"), "{error}");
    std::fs::copy(path("joe.key"), host.join("joe.key")).unwrap();
    push(&Registry::new(settings), &named, "a", b"layer", &NONE).await.unwrap();
}
