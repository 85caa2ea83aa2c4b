//! The bundle: the directory that the runtime reads.
//!
//! ```text
//! <state>/bundles/<namespace>/<id>/
//!   config.json  rootfs/     for the runtime
//!   exits/ ...               the shim's
//! ```

use oci::runtime::Spec;
use oci::{Context, Error, Result};
use std::fs;
use std::os::unix::fs::DirBuilderExt;
use std::path::Path;

/// Makes a directory, with its parents, that only root may enter.
pub(crate) fn private_dir(path: &Path) -> Result<()> {
    fs::DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(path)
        .context(|| format!("make directory {}", path.display()))
}

/// Makes the bundle: the directory, an empty `rootfs`, `config.json`.
pub(crate) fn make(bundle: &Path, config: &Spec) -> Result<()> {
    private_dir(&bundle.join("rootfs"))?;
    let text = serde_json::to_vec(config)
        .map_err(|e| Error::internal("config.json can't be written as JSON").with_source(e))?;
    let path = bundle.join("config.json");
    fs::write(&path, text).context(|| format!("write {}", path.display()))
}
