//! What the collector takes, what it leaves, and what a kill leaves for the next start.

mod support;

use oci::Kind;
use oci::image::{Descriptor, media};
use sampan_storage as storage;
use serde_json::json;
use std::path::Path;
use std::time::Duration;
use storage::{GcReport, Labels, LayerSpec, Options, Root, Store, digest_of};
use support::*;

fn tar(name: &str) -> Vec<u8> {
    let temp = tempfile::tempdir().unwrap();
    sh(temp.path(), &format!("mkdir x; echo {name} >x/{name}; touch -d 2001-01-01 x/{name} x; tar -C x -cf t ."));
    std::fs::read(temp.path().join("t")).unwrap()
}

/// An image of one or more layers, pulled; gives the manifest's digest and the top snapshot.
fn pull(store: &Store, names: &[&str]) -> (oci::Digest, String) {
    let tars: Vec<Vec<u8>> = names.iter().map(|name| tar(name)).collect();
    let diff_ids: Vec<_> = tars.iter().map(|tar| digest_of(tar)).collect();
    let layers: Vec<Descriptor> =
        tars.iter().map(|tar| Descriptor::new(media::OCI_LAYER, digest_of(tar), tar.len() as u64)).collect();
    let staged = tars.iter().map(|tar| receive(store, tar, Packing::None, "overlayfs").unwrap()).collect();
    let top = store.commit_chain("overlayfs", None, staged).unwrap();
    let config = json!({"architecture": "amd64", "os": "linux", "rootfs": {"type": "layers", "diff_ids": diff_ids}});
    let config = config.to_string().into_bytes();
    let config = Descriptor::new(media::OCI_CONFIG, store.content().put(&config).unwrap(), config.len() as u64);
    let manifest = json!({"schemaVersion": 2, "mediaType": media::OCI_MANIFEST, "config": config, "layers": layers});
    let manifest = store.content().put(manifest.to_string().as_bytes()).unwrap();
    (manifest, top)
}

fn collect(store: &Store, roots: Vec<Root>) -> GcReport {
    let report = store.gc(|| Ok(roots)).unwrap();
    assert_eq!(report.problems, [""; 0]);
    report
}

#[test]
fn an_image_keeps_everything_that_it_names_and_no_more() {
    let f = fixture();
    let store = &f.store;
    let (one, one_top) = pull(store, &["a", "b"]);
    let (two, two_top) = pull(store, &["a", "c"]);
    let index = json!({"schemaVersion": 2, "mediaType": media::OCI_INDEX, "manifests": [
        {"mediaType": media::OCI_MANIFEST, "digest": one, "size": 1},
        {"mediaType": media::OCI_MANIFEST, "digest": digest_of(b"another platform"), "size": 1},
    ]});
    let index = store.content().put(index.to_string().as_bytes()).unwrap();
    let everything = vec![Root::Content(index.clone()), Root::Content(two.clone())];
    assert_eq!(collect(store, everything), GcReport::default());

    let s = store.snapshotter("overlayfs").unwrap();
    s.prepare("container", Some(&two_top), Labels::new()).unwrap();
    s.prepare("leaked", Some(&one_top), Labels::new()).unwrap();
    let container = Root::Snapshot { snapshotter: "overlayfs".into(), key: "container".into() };
    // The second image's name is gone, and a container still runs on it: its layers stay.
    let report = collect(store, vec![Root::Content(index.clone()), container]);
    assert_eq!(report.content.len(), 3, "manifest, configuration and layer c: {report:?}");
    assert!(!report.content.contains(&digest_of(&tar("a"))));
    assert_eq!(report.snapshots, [("overlayfs".to_owned(), "leaked".to_owned())]);
    assert!(s.stat(&two_top).is_ok());
    let report = collect(store, vec![Root::Content(index.clone())]);
    assert_eq!(report.snapshots.len(), 2, "the container's and layer c's: {report:?}");
    assert!(s.stat(&one_top).is_ok() && s.stat(&two_top).is_err());
    let report = collect(store, vec![]);
    assert_eq!((report.content.len(), report.snapshots.len()), (5, 2));
    assert_eq!(store.content().list().unwrap(), []);
    assert_eq!(s.walk().unwrap(), []);
    assert_eq!(leftovers(store), [""; 0]);
    assert!(std::fs::read_dir(store.path().join("snapshots/overlayfs")).unwrap().count() == 1, "only staging");
}

#[test]
fn holds_protect_what_is_in_flight() {
    let f = fixture();
    let store = &f.store;
    let hold = store.hold([Root::Content(digest_of(b"not yet"))]);
    store.content().put(b"not yet").unwrap();
    let (manifest, top) = pull(store, &["a"]);
    hold.add(Root::Content(manifest));
    assert_eq!(collect(store, vec![]), GcReport::default());
    assert!(store.snapshotter("overlayfs").unwrap().stat(&top).is_ok());
    drop(hold);
    assert_eq!(collect(store, vec![]).content.len(), 4);
    // Failing to read the records removes nothing.
    pull(store, &["a"]);
    let failed = store.gc(|| Err::<Vec<Root>, _>(oci::Error::corrupt("records")));
    assert_eq!(failed.unwrap_err().kind(), Kind::Corrupt);
    assert_eq!(store.content().list().unwrap().len(), 3);
}

#[test]
fn ingests_expire_unless_open_or_named() {
    let temp = tempfile::tempdir().unwrap();
    let options = Options { ingest_grace: Duration::ZERO, ..Options::default() };
    let store = Store::open(&temp.path().join("root"), options).unwrap();
    for key in ["stale", "named"] {
        store.content().ingest(key, None).unwrap().write(b"part").unwrap();
    }
    let mut open = store.content().ingest("open", None).unwrap();
    open.write(b"part").unwrap();
    std::thread::sleep(Duration::from_millis(20));
    assert_eq!(collect(&store, vec![Root::Ingest("named".into())]).ingests, ["stale"]);
    assert_eq!(store.content().ingests().unwrap().len(), 2);
    assert_eq!(store.content().ingest("named", None).unwrap().offset(), 4);
    open.write(b"ial").unwrap();
    assert_eq!(open.commit(&digest_of(b"partial"), 7).unwrap(), digest_of(b"partial"));
}

#[test]
fn collecting_beside_pulls_takes_nothing_that_is_used() {
    let f = fixture();
    let store = &f.store;
    let done = std::sync::atomic::AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            while !done.load(std::sync::atomic::Ordering::Relaxed) {
                store
                    .gc(|| {
                        let images = store.meta().list::<oci::Digest>("default", "image")?;
                        Ok(images.into_iter().map(|(_, digest)| Root::Content(digest)).collect::<Vec<_>>())
                    })
                    .unwrap();
            }
        });
        let pulls: Vec<_> = (0..2)
            .map(|thread| {
                scope.spawn(move || {
                    for n in 0..15 {
                        let name = format!("image-{thread}-{n}");
                        let bytes = tar(&name);
                        let hold = store.hold([Root::Content(digest_of(&bytes))]);
                        hold.add(Root::Snapshot {
                            snapshotter: "overlayfs".into(),
                            key: digest_of(&bytes).to_string(),
                        });
                        let config = json!({"architecture": "amd64", "os": "linux",
                            "rootfs": {"type": "layers", "diff_ids": [digest_of(&bytes)]}})
                        .to_string();
                        hold.add(Root::Content(digest_of(config.as_bytes())));
                        let (manifest, top) = pull_held(store, &bytes, &config, &hold);
                        store.meta().put("default", "image", &name, &manifest).unwrap();
                        drop(hold);
                        assert!(store.snapshotter("overlayfs").unwrap().stat(&top).is_ok(), "{name}");
                    }
                })
            })
            .collect();
        for pull in pulls {
            pull.join().unwrap();
        }
        done.store(true, std::sync::atomic::Ordering::Relaxed);
    });
    assert_eq!(store.content().list().unwrap().len(), 90);
    assert_eq!(store.snapshotter("overlayfs").unwrap().walk().unwrap().len(), 30);
}

fn pull_held(store: &Store, tar: &[u8], config: &str, hold: &storage::Hold) -> (oci::Digest, String) {
    let staged = receive(store, tar, Packing::None, "overlayfs").unwrap();
    let top = store.commit_chain("overlayfs", None, vec![staged]).unwrap();
    store.content().put(config.as_bytes()).unwrap();
    let manifest = json!({"schemaVersion": 2, "mediaType": media::OCI_MANIFEST,
        "config": Descriptor::new(media::OCI_CONFIG, digest_of(config.as_bytes()), config.len() as u64),
        "layers": [Descriptor::new(media::OCI_LAYER, digest_of(tar), tar.len() as u64)]})
    .to_string();
    hold.add(Root::Content(digest_of(manifest.as_bytes())));
    (store.content().put(manifest.as_bytes()).unwrap(), top)
}

#[test]
fn a_second_opener_is_told_who_has_it() {
    let f = fixture();
    let error = Store::open(f.store.path(), Options::default()).unwrap_err();
    assert_eq!(error.kind(), Kind::Conflict);
    assert!(error.to_string().contains(&format!("process {}", std::process::id())), "{error}");
    for bad in ["relative", "/tmp/with:colon", "/tmp/with,comma"] {
        assert_eq!(Store::open(Path::new(bad), Options::default()).unwrap_err().kind(), Kind::InvalidArgument);
    }
}

/// Not a test of its own: the process that the next one kills.
#[test]
fn victim() {
    let Some(root) = std::env::var_os("SAMPAN_TEST_VICTIM") else { return };
    let store = Store::open(Path::new(&root), Options { sync_layers: false, ..Options::default() }).unwrap();
    let s = store.snapshotter("overlayfs").unwrap();
    let _ = s.remove("container");
    for n in 0.. {
        let name = format!("layer{}", n % 7);
        let bytes = tar(&name);
        let (blob, media_type) = pack(&bytes, Packing::Gzip);
        let spec: LayerSpec = spec(&blob, media_type, &bytes, "overlayfs");
        let mut sink = store.layer_sink(&spec).unwrap();
        let offset = sink.offset() as usize;
        for part in blob[offset..].chunks(100) {
            sink.write(part).unwrap();
        }
        let top = store.commit_chain("overlayfs", None, vec![sink.finish().unwrap()]).unwrap();
        store.meta().put("default", "done", &name, &top).unwrap();
        s.prepare("container", Some(&top), Labels::new()).unwrap();
        s.remove("container").unwrap();
        if n % 3 == 2 {
            store.meta().delete("default", "done", &name).unwrap();
            let keep = store.meta().list::<String>("default", "done").unwrap();
            let keep = keep.into_iter().map(|(_, key)| Root::Snapshot { snapshotter: "overlayfs".into(), key });
            store.gc(|| Ok(keep)).unwrap();
        }
    }
}

#[test]
fn killed_at_any_moment_it_opens_again_with_nothing_lost_or_left() {
    let temp = tempfile::Builder::new().prefix("sampan-test-").tempdir().unwrap();
    let root = temp.path().join("root");
    let program = std::env::current_exe().unwrap();
    let mut state: u64 = 88_172_645_463_325_252;
    for round in 0..25 {
        let mut child = std::process::Command::new(&program)
            .args(["--exact", "victim"])
            .env("SAMPAN_TEST_VICTIM", &root)
            .stdout(std::process::Stdio::null())
            .spawn()
            .unwrap();
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        std::thread::sleep(Duration::from_millis(20 + state % 180));
        child.kill().unwrap();
        child.wait().unwrap();
        let store = Store::open(&root, Options::default()).unwrap();
        let s = store.snapshotter("overlayfs").unwrap();
        // What was acknowledged is there, and whole.
        for (name, key) in store.meta().list::<String>("default", "done").unwrap() {
            let path = s.layer_path(&key).unwrap().join(&name);
            assert_eq!(std::fs::read_to_string(path).unwrap(), format!("{name}\n"), "round {round}");
        }
        for info in store.content().list().unwrap() {
            let bytes = store.content().read(&info.digest, 1 << 20).unwrap();
            assert_eq!(digest_of(&bytes), info.digest, "round {round}");
        }
        // And nothing is there that no record names.
        let records = s.walk().unwrap().len();
        let dirs = std::fs::read_dir(root.join("snapshots/overlayfs")).unwrap().count();
        assert_eq!(dirs, records + 1, "round {round}: staging, and one directory for each record");
        let ingests = store.content().ingests().unwrap().len();
        assert_eq!(leftovers(&store).len(), ingests, "round {round}: {:?}", leftovers(&store));
    }
}
