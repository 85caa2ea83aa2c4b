//! Debian's `docker-registry`, on loopback in the test's network namespace.

use crate::proc::{run, wait_until};
use crate::{World, peer};
use std::path::Path;
use std::process::{Child, Command, Stdio};

/// A running registry; ended on drop.
pub struct Registry {
    child: Child,
    port: u16,
}

impl Registry {
    /// Starts a registry on `port`, or gives `None` (with the reason printed) where it isn't installed.
    ///
    /// # Panics
    /// If it does not answer within a minute.
    pub fn start(world: &World, port: u16) -> Option<Self> {
        let program = peer("docker-registry")?;
        let dir = world.dir().join(format!("registry-{port}"));
        std::fs::create_dir_all(&dir).expect("the registry's directory");
        let config = dir.join("config.yml");
        let text = format!(
            "version: 0.1\nlog:\n  level: error\nstorage:\n  filesystem:\n    rootdirectory: {}\n  delete:\n    enabled: true\nhttp:\n  addr: 127.0.0.1:{port}\n",
            dir.join("data").display()
        );
        std::fs::write(&config, text).expect("write the registry's configuration");
        let child = Command::new(program)
            .arg("serve")
            .arg(&config)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("start docker-registry");
        let registry = Self { child, port };
        wait_until("docker-registry listens", || std::net::TcpStream::connect(("127.0.0.1", port)).is_ok());
        Some(registry)
    }

    /// The name of a repository here, as in `127.0.0.1:5000/debian`.
    pub fn name(&self, repository: &str) -> String {
        format!("127.0.0.1:{}/{repository}", self.port)
    }

    /// Pushes the OCI layout `layout` (with a tag) as `repository:tag` by skopeo.
    #[track_caller]
    pub fn push(&self, layout: &Path, tag: &str, repository: &str) {
        let from = format!("oci:{}:{tag}", layout.display());
        let to = format!("docker://{}:{tag}", self.name(repository));
        run(
            Command::new("skopeo").args(["--insecure-policy", "copy", "-q", "--dest-tls-verify=false", &from, &to]),
            b"",
        )
        .ok();
    }
}

impl Drop for Registry {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
