//! The client of the OCI distribution API (distribution-spec 1.1, and Docker's token and OAuth2
//! authentication documents).
//!
//! ```text
//! Registry ── endpoint: name → mirrors, origin ── session: authorization, scheme fallback
//!                                                    └─ client: redirects, pool ── connect: proxy, TCP, TLS
//! ```
//! The verbs are one file each: [`Registry::resolve`], [`Registry::blob`], [`Registry::fetch_blob`],
//! [`Registry::push_blob`], [`Registry::push_manifest`], [`Registry::tags`], [`Registry::login`].

mod address;
mod auth;
mod blob;
mod body;
mod client;
mod config;
mod connect;
mod credentials;
mod endpoint;
mod errors;
mod fetch;
mod limits;
mod login;
mod manifest;
mod pool;
mod proxy;
mod push;
mod push_manifest;
mod retry;
mod session;
mod tags;
mod tls;
mod tries;
mod verify;

pub use blob::BlobBody;
pub use config::{Config, HostConfig, Timeouts};
pub use credentials::{Credentials, Secret};
pub use fetch::BlobFetch;
pub use limits::MANIFEST_LIMIT;
pub use login::Login;
pub use manifest::Resolved;
pub use proxy::Proxies;
pub use push::{BlobSource, Pushed};

use std::sync::Arc;

/// The client. Cheap to clone; clones share connections and tokens.
#[derive(Clone)]
pub struct Registry {
    inner: Arc<session::Shared>,
}

impl Registry {
    /// A client with this configuration. Nothing is connected or read yet.
    pub fn new(config: Config) -> Self {
        Self { inner: Arc::new(session::Shared::new(config)) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Callers run these on their own tasks.
    #[test]
    fn futures_can_move_between_threads() {
        fn is_send<T: Send>(value: T) -> T {
            value
        }
        let registry = Registry::new(Config::default());
        let image: oci::ImageRef = "a".parse().unwrap();
        let digest = oci::Digest::from_sha256(&[0; 32]);
        let descriptor = oci::image::Descriptor::new("x", digest.clone(), 1);
        let none = Credentials::Anonymous;
        drop(is_send(registry.resolve(&image, &none)));
        drop(is_send(registry.head(&image, &none)));
        drop(is_send(registry.tags(&image, &none)));
        drop(is_send(registry.login("a", &none)));
        drop(is_send(registry.blob(&image, &descriptor, 0, &none)));
        let mut fetch = is_send(registry.fetch_blob(&image, &descriptor, 0, &none).unwrap());
        drop(is_send(fetch.chunk()));
        drop(is_send(registry.push_manifest(&image, "t", "m", bytes::Bytes::new(), &none)));
        drop(is_send(registry.mount_blob(&image, &digest, &image, &none)));
        let source = Arc::new(|_| Err(std::io::Error::other("x")));
        drop(is_send(registry.push_blob(&image, &descriptor, source, None, &none, Arc::new(|_| {}))));
    }
}
