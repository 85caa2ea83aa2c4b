//! Images against a real registry, with images made by real tools.

mod image_support;

use bytes::Bytes;
use engine::images::{ImageUser, ImportOptions, LayerState, Progress, PullOptions, Removed};
use image_support::{
    NS, RealRegistry, World, busybox_layout, have, lines, push_busybox, quiet, recorder, run, skopeo, temp,
};
use oci::image::{Manifest, media};
use oci::{ImageRef, Kind};
use registry::Credentials;
use std::sync::Arc;

const TOOLS: &[&str] = &["docker-registry", "umoci", "skopeo", "busybox"];

fn options() -> PullOptions {
    PullOptions::default()
}

/// A file of an unpacked image, found through the mount of a view.
fn read_in_image(world: &World, chain: &oci::Digest, path: &str) -> Vec<u8> {
    let snapshots = world.store.snapshotter("overlayfs").unwrap();
    let mounts = snapshots.view("probe", Some(chain.as_str()), Default::default()).unwrap();
    let dirs: Vec<String> = mounts
        .iter()
        .flat_map(|mount| {
            let lower = mount
                .options
                .iter()
                .find_map(|o| o.strip_prefix("lowerdir="))
                .map(|l| l.split(':').map(Into::into).collect());
            lower.unwrap_or_else(|| vec![mount.source.clone()])
        })
        .collect();
    let found = dirs.iter().find_map(|dir| std::fs::read(format!("{dir}/{path}")).ok());
    snapshots.remove("probe").unwrap();
    found.unwrap_or_else(|| panic!("{path} is in none of {dirs:?}"))
}

#[tokio::test(flavor = "multi_thread")]
async fn pull_look_tag_remove() {
    if !have(TOOLS) {
        return;
    }
    let real = RealRegistry::start();
    push_busybox(&real, &["lib/busybox:1"]);
    let world = World::new();
    let name = real.name("lib/busybox:1");
    let (sink, steps) = recorder();
    let pulled = world.images.pull(&name, options(), sink).await.unwrap();
    assert!(!pulled.up_to_date);
    let image = pulled.image;
    let text = lines(&steps);
    assert_eq!(text[0], "1: Pulling from lib/busybox");
    assert_eq!(text[text.len() - 2], format!("Digest: {}", image.target.digest));
    assert_eq!(text[text.len() - 1], format!("Status: Downloaded newer image for {name}"));
    assert_eq!(text.iter().filter(|l| l.ends_with("Pull complete")).count(), 2);
    let chain = image.chain.clone().unwrap();
    assert!(read_in_image(&world, &chain, "bin/busybox") == std::fs::read("/bin/busybox").unwrap());
    assert!(read_in_image(&world, &chain, "etc/motd").starts_with(b"welcome\n"));
    assert_eq!(image.config.config.as_ref().unwrap().env.as_deref().unwrap().last().unwrap(), "A=b");
    assert!(image.size > 8000);
    assert_eq!(image.layer_sizes.len(), 2);

    // Again: nothing to do.
    let (sink, steps) = recorder();
    let again = world.images.pull(&name, options(), sink).await.unwrap();
    assert!(again.up_to_date);
    assert_eq!(lines(&steps).last().unwrap(), &format!("Status: Image is up to date for {name}"));

    // By every name it has.
    let pinned = format!("{}@{}", name.repository(), image.target.digest);
    for given in
        [name.to_string(), pinned.clone(), image.id.to_string(), image.id.hex().to_owned(), image.id.short().to_owned()]
    {
        assert_eq!(world.images.get(&given).await.unwrap().id, image.id, "{given}");
    }
    let found = world.images.get(image.id.short()).await.unwrap();
    assert_eq!((found.tags, found.digests), (vec![name.clone()], vec![pinned.parse().unwrap()]));
    let history = world.images.history(&name.to_string()).await.unwrap();
    assert!(history[0].id.is_some() && history.iter().map(|h| h.size).sum::<u64>() == image.size);

    // Another name, and what stands in the way of removing it.
    let other: ImageRef = "other:2".parse().unwrap();
    world.images.tag(&name.to_string(), &other).await.unwrap();
    assert_eq!(world.images.list().await.unwrap().len(), 1);
    let error = world.images.remove(image.id.short(), false).await.unwrap_err();
    assert!(error.kind() == Kind::Conflict && error.to_string().contains("multiple repositories"), "{error}");
    let removed = world.images.remove("other:2", false).await.unwrap();
    assert_eq!(removed, [Removed::Untagged(other)]);
    let container = ImageUser { container: "c".repeat(64), running: true };
    world.users.lock().unwrap().push(container.clone());
    let error = world.images.remove(&name.to_string(), false).await.unwrap_err();
    assert!(error.to_string().contains("container cccccccccccc is using its referenced image"), "{error}");
    let error = world.images.remove(image.id.short(), true).await.unwrap_err();
    assert!(error.to_string().contains("cannot be forced"), "{error}");
    assert!(world.images.prune(true, &|_| true).await.unwrap().removed.is_empty());
    // By name and with force the name goes, the image stays for its container.
    world.images.remove(&name.to_string(), true).await.unwrap();
    assert!(world.images.get(image.id.short()).await.unwrap().is_dangling());
    world.users.lock().unwrap().clear();
    let pruned = world.images.prune(false, &|_| true).await.unwrap();
    assert_eq!(pruned.removed.iter().filter(|r| matches!(r, Removed::Deleted(_))).count(), 3);
    assert!(pruned.freed > 8000);
    world.assert_empty();
    assert_eq!(world.images.get(image.id.short()).await.unwrap_err().kind(), Kind::NotFound);
    let events = world.events.lock().unwrap().clone();
    for expected in [format!("{NS} pull {name}"), format!("{NS} tag {}", image.id), format!("{NS} delete {}", image.id)]
    {
        assert!(events.contains(&expected), "{expected}: {events:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_tag_that_moves_leaves_the_old_image_nameless() {
    if !have(TOOLS) {
        return;
    }
    let (real, world) = (RealRegistry::start(), World::new());
    push_busybox(&real, &["a"]);
    let name = real.name("a");
    let first = world.images.pull(&name, options(), quiet()).await.unwrap().image;
    let dir = temp();
    busybox_layout(dir.path());
    run("umoci", &["config", "--image", "layout:latest", "--config.cmd", "/other"], dir.path());
    skopeo(dir.path(), "oci:layout:latest", &format!("docker://{name}"));
    let (sink, steps) = recorder();
    let second = world.images.pull(&name, options(), sink).await.unwrap().image;
    assert_ne!(first.id, second.id);
    assert!(lines(&steps).iter().any(|l| l.ends_with("Already exists")), "{:?}", lines(&steps));
    let old = world.images.get(&first.id.to_string()).await.unwrap();
    assert!(old.is_dangling() && old.digests.len() == 1);
    assert_eq!(world.images.list().await.unwrap().len(), 2);
    // A name of our own that is taken over leaves a nameless image, too.
    let own: ImageRef = "own".parse().unwrap();
    world.images.tag(first.id.short(), &own).await.unwrap();
    world.images.remove(&format!("{}@{}", name.repository(), first.target.digest), false).await.unwrap();
    world.images.tag(second.id.short(), &own).await.unwrap();
    assert!(world.images.get(&first.id.to_string()).await.unwrap().is_dangling());
    world.images.prune(false, &|_| true).await.unwrap();
    assert_eq!(world.images.list().await.unwrap().len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn pulls_of_one_name_join_and_pulls_of_one_layer_wait() {
    if !have(TOOLS) {
        return;
    }
    let (real, world) = (RealRegistry::start(), World::new());
    push_busybox(&real, &["a", "b"]);
    let mut pulls = tokio::task::JoinSet::new();
    let mut all = Vec::new();
    for number in 0..8 {
        let name = real.name(if number % 2 == 0 { "a" } else { "b" });
        let images = world.service.namespace(if number < 4 { NS } else { "other" });
        let (sink, steps) = recorder();
        all.push(steps);
        pulls.spawn(async move { images.pull(&name, PullOptions::default(), sink).await });
    }
    while let Some(done) = pulls.join_next().await {
        done.unwrap().unwrap();
    }
    for steps in all {
        let text = lines(&steps);
        assert!(text[0].contains("Pulling from") && text.last().unwrap().starts_with("Status:"), "{text:?}");
    }
    assert_eq!(world.images.list().await.unwrap()[0].tags.len(), 2);
    assert_eq!(world.service.namespace("other").list().await.unwrap().len(), 1);
    assert_eq!(world.store.content().ingests().unwrap().len(), 0);
    assert_eq!(world.staged(), 0);
    // One namespace's removal leaves the other's image alone.
    world.images.prune(true, &|_| true).await.unwrap();
    let left = world.service.namespace("other").ready(&real.name("a").to_string()).await.unwrap();
    assert!(!read_in_image(&world, left.image.chain.as_ref().unwrap(), "etc/motd").is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn push_goes_where_pull_came_from() {
    if !have(TOOLS) {
        return;
    }
    let (real, world) = (RealRegistry::start(), World::new());
    push_busybox(&real, &["a"]);
    let image = world.images.pull(&real.name("a"), options(), quiet()).await.unwrap().image;
    let (to, elsewhere) = (real.name("b:2"), RealRegistry::start());
    world.images.tag(image.id.short(), &to).await.unwrap();
    let (sink, steps) = recorder();
    let pushed = world.images.push(&to, Credentials::Anonymous, sink).await.unwrap();
    assert_eq!(pushed.digest, image.target.digest);
    let text = lines(&steps);
    assert_eq!(text[0], format!("The push refers to repository [{}]", to.repository()));
    assert_eq!(text.iter().filter(|l| l.ends_with("Mounted")).count(), 2, "{text:?}");
    assert!(text.contains(&format!("2: digest: {} size: {}", pushed.digest, pushed.size)));
    let far = elsewhere.name("c:3");
    world.images.tag(image.id.short(), &far).await.unwrap();
    let (sink, steps) = recorder();
    world.images.push(&far, Credentials::Anonymous, sink).await.unwrap();
    assert_eq!(lines(&steps).iter().filter(|l| l.ends_with(": Pushed")).count(), 2);
    let (sink, steps) = recorder();
    world.images.push(&far, Credentials::Anonymous, sink).await.unwrap();
    assert_eq!(lines(&steps).iter().filter(|l| l.ends_with("Layer already exists")).count(), 2);
    // A real tool agrees.
    let dir = temp();
    skopeo(dir.path(), &format!("docker://{far}"), "dir:copy");
    let fresh = World::new();
    assert_eq!(fresh.images.pull(&far, options(), quiet()).await.unwrap().image.id, image.id);
    let error = world.images.push(&real.name("absent"), Credentials::Anonymous, quiet()).await.unwrap_err();
    assert!(error.to_string().starts_with("An image does not exist locally with the tag: "), "{error}");
}

async fn collect(mut stream: engine::images::TarStream) -> Vec<u8> {
    let mut all = Vec::new();
    while let Some(piece) = stream.recv().await {
        all.extend_from_slice(&piece.unwrap());
    }
    all
}

fn stream(bytes: Vec<u8>) -> impl futures_util::Stream<Item = std::io::Result<Bytes>> + Send + Unpin + 'static {
    let pieces: Vec<_> = bytes.chunks(10_000).map(|c| Ok(Bytes::copy_from_slice(c))).collect();
    futures_util::stream::iter(pieces)
}

#[tokio::test(flavor = "multi_thread")]
async fn archives_go_out_to_skopeo_and_come_back() {
    if !have(TOOLS) {
        return;
    }
    let (real, world) = (RealRegistry::start(), World::new());
    push_busybox(&real, &["a:1"]);
    let image = world.images.pull(&real.name("a:1"), options(), quiet()).await.unwrap().image;
    let short: ImageRef = "short:1".parse().unwrap();
    world.images.tag(image.id.short(), &short).await.unwrap();
    let saved = collect(world.images.save(&["short:1".to_owned()]).await.unwrap()).await;
    let dir = temp();
    std::fs::write(dir.path().join("saved.tar"), &saved).unwrap();
    skopeo(dir.path(), "docker-archive:saved.tar:short:1", "oci:from-docker:x");
    skopeo(dir.path(), "oci-archive:saved.tar", "oci:from-oci:x");
    skopeo(dir.path(), "docker-archive:saved.tar:short:1", "docker-archive:again.tar:docker.io/library/back:2");
    skopeo(dir.path(), "oci-archive:saved.tar", "oci-archive:oci.tar:docker.io/library/back:3");
    skopeo(dir.path(), "oci-archive:saved.tar", "oci-archive:nameless.tar:latest");

    // Our own archive keeps the image as it is, digest and all.
    let fresh = World::new();
    let (sink, steps) = recorder();
    let loaded = fresh.images.load(stream(saved.clone()), sink).await.unwrap();
    assert_eq!((loaded[0].id.clone(), loaded[0].names.clone()), (image.id.clone(), vec![short]));
    assert!(lines(&steps).contains(&"Loaded image: short:1\n".to_owned()), "{:?}", lines(&steps));
    let back = fresh.images.get("short:1").await.unwrap();
    assert_eq!((back.manifest.digest, back.chain.clone()), (image.manifest.digest.clone(), image.chain.clone()));
    assert!(read_in_image(&fresh, &back.chain.unwrap(), "bin/busybox") == std::fs::read("/bin/busybox").unwrap());

    for (file, name) in [("again.tar", Some("back:2")), ("oci.tar", Some("back:3")), ("nameless.tar", None)] {
        let bytes = std::fs::read(dir.path().join(file)).unwrap();
        let world = World::new();
        let (sink, steps) = recorder();
        let loaded = world.images.load(stream(bytes), sink).await.unwrap();
        assert_eq!(loaded.len(), 1, "{file}");
        let by_name: Vec<String> = loaded[0].names.iter().map(ImageRef::familiar).collect();
        assert_eq!(by_name, name.map(str::to_owned).into_iter().collect::<Vec<_>>(), "{file}");
        let image = world.images.get(&loaded[0].id.to_string()).await.unwrap();
        assert_eq!(image.is_dangling(), name.is_none());
        if name.is_none() {
            assert!(lines(&steps).contains(&format!("Loaded image ID: {}\n", image.id)));
        }
        assert!(read_in_image(&world, &image.chain.unwrap(), "etc/motd").starts_with(b"welcome"), "{file}");
        // What the archive held besides the image is gone with the next collection.
        world.images.prune(true, &|_| true).await.unwrap();
        world.assert_empty();
    }
    // gzipped, as `docker save | gzip` makes it.
    run("gzip", &["-k", "saved.tar"], dir.path());
    let fresh = World::new();
    fresh.images.load(stream(std::fs::read(dir.path().join("saved.tar.gz")).unwrap()), quiet()).await.unwrap();
    assert_eq!(fresh.images.list().await.unwrap().len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn bad_archives_name_nothing() {
    if !have(TOOLS) {
        return;
    }
    let (real, world) = (RealRegistry::start(), World::new());
    push_busybox(&real, &["a:1"]);
    world.images.pull(&real.name("a:1"), options(), quiet()).await.unwrap();
    let saved = collect(world.images.save(&[real.name("a:1").to_string()]).await.unwrap()).await;
    let fresh = World::new();
    // Cut off.
    let error = fresh.images.load(stream(saved[..saved.len() / 2].to_vec()), quiet()).await.unwrap_err();
    assert!(error.to_string().contains("not an image archive"), "{error}");
    // A bit of a layer flipped.
    let mut damaged = saved.clone();
    let middle = damaged.len() / 2;
    damaged[middle] ^= 1;
    let error = fresh.images.load(stream(damaged), quiet()).await.unwrap_err();
    assert_eq!(error.kind(), Kind::Corrupt, "{error}");
    // Something else altogether.
    for other in [b"hello".to_vec(), vec![0; 10_240], vec![]] {
        assert!(fresh.images.load(stream(other), quiet()).await.is_err());
    }
    let broken =
        futures_util::stream::iter([Ok(Bytes::copy_from_slice(&saved[..5000])), Err(std::io::Error::other("gone"))]);
    let error = fresh.images.load(broken, quiet()).await.unwrap_err();
    assert!(error.to_string().contains("gone"), "{error}");
    assert!(fresh.images.list().await.unwrap().is_empty());
    fresh.images.prune(true, &|_| true).await.unwrap();
    let service = fresh.service.clone();
    let store = fresh.store.clone();
    tokio::task::spawn_blocking(move || store.gc(|| service.roots())).await.unwrap().unwrap();
    fresh.assert_empty();
}

#[tokio::test(flavor = "multi_thread")]
async fn import_makes_an_image_of_a_tar() {
    let world = World::new();
    let dir = temp();
    std::fs::write(dir.path().join("file"), "content").unwrap();
    run("tar", &["-czf", "layer.tar.gz", "file"], dir.path());
    let bytes = std::fs::read(dir.path().join("layer.tar.gz")).unwrap();
    let import = ImportOptions {
        reference: Some("imported:1".parse().unwrap()),
        changes: vec![r#"CMD ["/file"]"#.into()],
        ..ImportOptions::default()
    };
    let made = world.images.import(stream(bytes), import).await.unwrap();
    let image = world.images.get("imported:1").await.unwrap();
    assert_eq!(made.id, image.id);
    assert_eq!(image.config.config.as_ref().unwrap().cmd.as_deref().unwrap(), ["/file"]);
    assert_eq!(read_in_image(&world, image.chain.as_ref().unwrap(), "file"), b"content");
    let error = world.images.import(stream(b"no tar".repeat(1000)), ImportOptions::default()).await.unwrap_err();
    assert!(matches!(error.kind(), Kind::Corrupt | Kind::InvalidArgument), "{error:?}");
    let wrong = ImportOptions { changes: vec!["RUN x".into()], ..ImportOptions::default() };
    assert_eq!(world.images.import(stream(vec![]), wrong).await.unwrap_err().kind(), Kind::Unsupported);
    world.images.prune(true, &|_| true).await.unwrap();
    world.assert_empty();
}

#[tokio::test(flavor = "multi_thread")]
async fn the_builtin_image_needs_no_registry() {
    let world = World::at(temp(), Some(b"#!/bin/sh\necho hello\n"));
    let ready = world.images.ready("hello").await.unwrap();
    assert_eq!(ready.reference.unwrap().to_string(), "docker.io/library/hello:latest");
    assert_eq!(ready.image.config.config.unwrap().cmd.unwrap(), ["/hello"]);
    assert_eq!(read_in_image(&world, &ready.image.chain.unwrap(), "hello"), b"#!/bin/sh\necho hello\n");
    let pulled = world.images.pull(&"hello".parse().unwrap(), options(), quiet()).await.unwrap();
    assert!(pulled.up_to_date);
    assert_eq!(world.images.ready("absent").await.unwrap_err().to_string(), "No such image: absent:latest");
    // It is the same on every machine and at every time.
    let other = World::at(temp(), Some(b"#!/bin/sh\necho hello\n"));
    assert_eq!(other.images.ready("hello").await.unwrap().image.target, pulled.image.target);
    drop(ready.hold);
    world.images.remove("hello", false).await.unwrap();
    world.assert_empty();
    assert_eq!(World::new().images.ready("hello").await.unwrap_err().kind(), Kind::NotFound);
}

#[tokio::test(flavor = "multi_thread")]
async fn bad_layers_leave_nothing_behind() {
    if !have(TOOLS) {
        return;
    }
    let (real, world) = (RealRegistry::start(), World::new());
    push_busybox(&real, &["a"]);
    let name = real.name("a");
    let resolved = registry::Registry::new(image_support::registry_config());
    let resolved = resolved.resolve(&name, &Credentials::Anonymous).await.unwrap();
    let manifest: Manifest = serde_json::from_slice(&resolved.body).unwrap();
    let layer = real.blob(&manifest.layers[1].digest);
    let whole = std::fs::read(&layer).unwrap();
    // One byte differs; then the length.
    let mut damaged = whole.clone();
    let at = damaged.len() / 2;
    damaged[at] ^= 0x10;
    for bytes in [damaged, whole[..whole.len() - 1].to_vec()] {
        std::fs::write(&layer, &bytes).unwrap();
        let error = world.images.pull(&name, options(), quiet()).await.unwrap_err();
        assert_eq!(error.kind(), Kind::Corrupt, "{error}");
        assert!(error.to_string().contains(manifest.layers[1].digest.as_str()), "{error}");
        assert!(world.images.list().await.unwrap().is_empty());
        assert_eq!(world.staged(), 0);
    }
    // A layer that is not what the configuration says: right digest, wrong diff-id.
    std::fs::write(&layer, &whole).unwrap();
    let mut swapped = manifest.clone();
    swapped.layers.reverse();
    let body = Bytes::from(serde_json::to_vec(&swapped).unwrap());
    let client = registry::Registry::new(image_support::registry_config());
    let evil = real.name("a:evil");
    client.push_manifest(&evil, "evil", media::OCI_MANIFEST, body, &Credentials::Anonymous).await.unwrap();
    let error = world.images.pull(&evil, options(), quiet()).await.unwrap_err();
    assert_eq!(error.kind(), Kind::Corrupt, "{error}");
    assert!(world.images.list().await.unwrap().is_empty());
    assert_eq!(world.staged(), 0);
    let store = world.store.clone();
    let service = world.service.clone();
    tokio::task::spawn_blocking(move || store.gc(|| service.roots())).await.unwrap().unwrap();
    assert_eq!(world.store.content().list().unwrap().len(), 0);
    // And the good image still comes.
    world.images.pull(&name, options(), quiet()).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn what_came_before_a_restart_is_not_fetched_again() {
    if !have(TOOLS) {
        return;
    }
    let real = RealRegistry::start();
    push_busybox(&real, &["a"]);
    let slow: ImageRef = format!("{}/a", image_support::stalling(&real.place, 50_000, 200_000)).parse().unwrap();
    for damaged in [false, true] {
        let world = World::new();
        // The line falls silent in the middle of the larger layer.
        let images = world.images.clone();
        let (name, sink) = (slow.clone(), quiet());
        let pull = tokio::spawn(async move { images.pull(&name, PullOptions::default(), sink).await });
        let begun = loop {
            let ingests = world.store.content().ingests().unwrap();
            if let Some(ingest) = ingests.into_iter().find(|i| i.offset > 100_000) {
                break ingest;
            }
            assert!(!pull.is_finished(), "{:?}", pull.await);
            tokio::time::sleep(std::time::Duration::from_millis(10)).await;
        };
        pull.abort();
        let _ = pull.await;
        // The daemon goes and comes again.
        let dir = {
            let World { service, images, store, dir, .. } = world;
            drop((service, images, store));
            dir
        };
        drop(image_support::open_store(dir.path()));
        if damaged {
            for entry in std::fs::read_dir(dir.path().join("root/content/ingest")).unwrap() {
                let data = entry.unwrap().path().join("data");
                let mut bytes = std::fs::read(&data).unwrap();
                let middle = bytes.len() / 2;
                if let Some(byte) = bytes.get_mut(middle) {
                    *byte ^= 1;
                }
                std::fs::write(&data, bytes).unwrap();
            }
        }
        let world = World::at(dir, None);
        let (sink, steps) = recorder();
        let pulled = world.images.pull(&real.name("a"), options(), sink).await.unwrap();
        let starts: Vec<u64> = steps
            .lock()
            .unwrap()
            .iter()
            .filter_map(|step| match step {
                Progress::Layer { state: LayerState::Downloading(n, _), .. } => Some(*n),
                _ => None,
            })
            .collect();
        let text = lines(&steps);
        assert!(starts.iter().any(|start| *start > 100_000), "damaged {damaged}: {text:?} after {begun:?}");
        assert!(
            read_in_image(&world, pulled.image.chain.as_ref().unwrap(), "bin/busybox")
                == std::fs::read("/bin/busybox").unwrap()
        );
        assert_eq!(world.staged(), 0);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pull_that_is_given_up_goes_on_later() {
    if !have(TOOLS) {
        return;
    }
    let (real, world) = (RealRegistry::start(), World::new());
    push_busybox(&real, &["a"]);
    let name = real.name("a");
    // Given up as soon as bytes come.
    for _ in 0..3 {
        let (begun, begins) = tokio::sync::oneshot::channel();
        let begun = std::sync::Mutex::new(Some(begun));
        let sink: engine::images::ProgressSink = Arc::new(move |step| {
            if let Progress::Layer { state: LayerState::Downloading(..), .. } = step
                && let Some(begun) = begun.lock().unwrap().take()
            {
                let _ = begun.send(());
            }
        });
        let images = world.images.clone();
        let wanted = name.clone();
        let pull = tokio::spawn(async move { images.pull(&wanted, PullOptions::default(), sink).await });
        let _ = begins.await;
        pull.abort();
        let _ = pull.await;
    }
    let image = world.images.pull(&name, options(), quiet()).await.unwrap().image;
    assert!(!read_in_image(&world, image.chain.as_ref().unwrap(), "etc/motd").is_empty());
    assert_eq!(world.staged(), 0);
    // Unpacked layers that went missing are unpacked again from the content.
    let snapshots = world.store.snapshotter("overlayfs").unwrap();
    for info in snapshots.walk().unwrap().into_iter().rev() {
        let _ = snapshots.remove(&info.key);
    }
    while let Some(info) = snapshots.walk().unwrap().into_iter().next_back() {
        if snapshots.remove(&info.key).is_err() {
            for other in snapshots.walk().unwrap() {
                let _ = snapshots.remove(&other.key);
            }
        }
    }
    let ready = world.images.ready(&name.to_string()).await.unwrap();
    assert!(!read_in_image(&world, ready.image.chain.as_ref().unwrap(), "etc/motd").is_empty());
}
