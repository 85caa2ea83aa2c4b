//! Times the way of layers into a store: `unpack <root> <layers at once> <gzip layer>...`.
//! Every layer is hashed, stored, decompressed and unpacked; then the chain is committed.

use oci::image::{Descriptor, media};
use sampan_storage::{LayerSpec, Options, Store, digest_of};
use std::path::Path;
use std::sync::Mutex;
use std::time::Instant;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let [root, at_once, layers @ ..] = args.as_slice() else {
        return Err("usage: unpack <root> <layers at once> <gzip layer>...".into());
    };
    let store = Store::open(Path::new(root), Options::default())?;
    let layers: Vec<Vec<u8>> = layers.iter().map(std::fs::read).collect::<Result<_, _>>()?;
    let specs: Vec<LayerSpec> = layers
        .iter()
        .map(|bytes| LayerSpec {
            descriptor: Descriptor::new(media::OCI_LAYER_GZIP, digest_of(bytes), bytes.len() as u64),
            diff_id: None,
            key: digest_of(bytes).to_string(),
            snapshotter: "overlayfs".into(),
        })
        .collect();
    let start = Instant::now();
    let next = Mutex::new(0..layers.len());
    let staged = Mutex::new(Vec::new());
    std::thread::scope(|scope| {
        for _ in 0..at_once.parse().unwrap_or(2) {
            scope.spawn(|| {
                loop {
                    let Some(n) = next.lock().ok().and_then(|mut next| next.next()) else { return };
                    let receive = || -> oci::Result<_> {
                        let mut sink = store.layer_sink(&specs[n])?;
                        // As it comes from a socket.
                        for part in layers[n].chunks(64 << 10) {
                            sink.write(part)?;
                        }
                        sink.finish()
                    };
                    let layer = receive();
                    if let Ok(mut staged) = staged.lock() {
                        staged.push((n, layer));
                    }
                }
            });
        }
    });
    println!("layers unpacked after {:.2?}", start.elapsed());
    let mut staged = staged.into_inner()?;
    staged.sort_by_key(|(n, _)| *n);
    let staged = staged.into_iter().map(|(_, layer)| layer).collect::<oci::Result<Vec<_>>>()?;
    store.commit_chain("overlayfs", None, staged)?;
    println!("chain committed after {:.2?}", start.elapsed());
    Ok(())
}
