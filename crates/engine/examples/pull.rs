//! Pulls an image into a store of its own and prints the timeline: for measuring the image service
//! without a daemon around it. `pull <empty directory> <name>`

use engine::images::{ImageConfig, ImageService, PullOptions};
use std::sync::Arc;
use std::time::Instant;

#[tokio::main]
async fn main() -> oci::Result<()> {
    let mut arguments = std::env::args().skip(1);
    let (Some(root), Some(name)) = (arguments.next(), arguments.next()) else {
        return Err(oci::Error::invalid("usage: pull <absolute directory> <name>"));
    };
    let store = storage::Store::open(std::path::Path::new(&root), storage::Options::default())?;
    let service = ImageService::new(ImageConfig {
        store: Arc::new(store),
        registry: registry::Registry::new(registry::Config::default()),
        snapshotter: "overlayfs".into(),
        builtin_hello: None,
    });
    let begin = Instant::now();
    let pulled = service.namespace("bench").pull(&name.parse()?, PullOptions::default(), Arc::new(|_| {})).await?;
    println!("{:?} in all; {:?}; {} bytes unpacked", begin.elapsed(), pulled.timeline, pulled.image.size);
    Ok(())
}
