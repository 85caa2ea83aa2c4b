//! TLS settings of one host: the system's authorities, `ca_files`, and `<certs dir>/<host[:port]>/`.
//! Synchronous, since it reads files: called on the blocking pool.

use crate::address::is_loopback;
use crate::config::Config;
use crate::limits;
use crate::verify::{Lax, Strict};
use oci::{Context, Error, Result};
use rustls::client::WebPkiServerVerifier;
use rustls::crypto::CryptoProvider;
use rustls::{ClientConfig, RootCertStore};
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, PrivateKeyDer};
use std::io::Read;
use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock};

/// What the files say about one host.
#[derive(Default)]
struct Files {
    authorities: Vec<PathBuf>,
    client: Option<(PathBuf, PathBuf)>,
}

/// The settings for a connection to `authority` (`host[:port]`), whose host is `host`.
///
/// # Errors
/// A file that cannot be read or is no PEM; the message names it.
pub(crate) fn client_config(config: &Config, authority: &str, host: &str) -> Result<Arc<ClientConfig>> {
    // Docker Hub's settings stand under the name that users write.
    let named = config.hosts.get(authority).or_else(|| match authority {
        "registry-1.docker.io" => config.hosts.get("docker.io"),
        _ => None,
    });
    let mut files = match &config.certs_dir {
        Some(dir) => read_dir(dir, authority)?,
        None => Files::default(),
    };
    let mut lax = false;
    if let Some(settings) = named {
        files.authorities.extend(settings.ca_files.iter().cloned());
        files.client = settings.client_cert.clone().or(files.client);
        lax = settings.skip_verify;
    }
    // Docker does not verify loopback; a configured authority says that the user wants it verified.
    lax |= is_loopback(host) && files.authorities.is_empty();
    if !lax && files.authorities.is_empty() && files.client.is_none() {
        return default_config();
    }
    build(&files, lax).map(Arc::new)
}

/// For hosts without settings of their own; shared, so that sessions are resumed.
fn default_config() -> Result<Arc<ClientConfig>> {
    static DEFAULT: OnceLock<Arc<ClientConfig>> = OnceLock::new();
    if let Some(config) = DEFAULT.get() {
        return Ok(config.clone());
    }
    let config = Arc::new(build(&Files::default(), false)?);
    Ok(DEFAULT.get_or_init(|| config).clone())
}

fn provider() -> Arc<CryptoProvider> {
    static PROVIDER: OnceLock<Arc<CryptoProvider>> = OnceLock::new();
    PROVIDER.get_or_init(|| Arc::new(rustls::crypto::ring::default_provider())).clone()
}

fn build(files: &Files, lax: bool) -> Result<ClientConfig> {
    let provider = provider();
    let tls = |e: rustls::Error| Error::internal(format!("TLS settings: {e}"));
    let builder =
        ClientConfig::builder_with_provider(provider.clone()).with_safe_default_protocol_versions().map_err(tls)?;
    let builder = if lax {
        builder.dangerous().with_custom_certificate_verifier(Arc::new(Lax::new(provider)))
    } else {
        let mut own = Vec::new();
        for path in &files.authorities {
            own.extend(certificates(path)?);
        }
        let mut roots = RootCertStore::empty();
        roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
        let (_, unusable) = roots.add_parsable_certificates(own.iter().cloned());
        if unusable > 0 {
            let names: Vec<_> = files.authorities.iter().map(|p| p.display().to_string()).collect();
            return Err(Error::invalid(format!("{}: {unusable} certificates cannot be read", names.join(", "))));
        }
        let inner = if roots.is_empty() {
            None
        } else {
            let verifier = WebPkiServerVerifier::builder_with_provider(Arc::new(roots), provider.clone())
                .build()
                .map_err(|e| Error::internal(format!("TLS settings: {e}")))?;
            Some(verifier)
        };
        builder.dangerous().with_custom_certificate_verifier(Arc::new(Strict::new(inner, own, provider)))
    };
    let mut config = match &files.client {
        Some((cert, key)) => builder
            .with_client_auth_cert(certificates(cert)?, private_key(key)?)
            .map_err(|e| Error::invalid(format!("client certificate {}: {e}", cert.display())))?,
        None => builder.with_no_client_auth(),
    };
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok(config)
}

/// Docker's certificate directory: `*.crt` are authorities, `x.cert` goes with `x.key`.
fn read_dir(dir: &Path, authority: &str) -> Result<Files> {
    // The name comes from an image reference or a redirect: it must be one plain component.
    if authority.is_empty() || authority.starts_with('.') || authority.contains(['/', '\0']) {
        return Ok(Files::default());
    }
    let dir = dir.join(authority);
    let entries = match std::fs::read_dir(&dir) {
        Ok(entries) => entries,
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => return Ok(Files::default()),
        Err(e) => return Err(e).context(|| format!("read {}", dir.display())),
    };
    let mut paths = Vec::new();
    for entry in entries {
        let entry = entry.context(|| format!("read {}", dir.display()))?;
        paths.push(entry.path());
        if paths.len() > limits::CERT_FILES {
            return Err(Error::invalid(format!("{}: more than {} files", dir.display(), limits::CERT_FILES)));
        }
    }
    paths.sort();
    let mut files = Files::default();
    for path in &paths {
        let extension = path.extension().and_then(|e| e.to_str()).unwrap_or_default();
        let beside = |other: &str| path.with_extension(other);
        let missing = |what: &Path| Error::invalid(format!("missing {} for {}", what.display(), path.display()));
        match extension {
            "crt" => files.authorities.push(path.clone()),
            "cert" if !paths.contains(&beside("key")) => return Err(missing(&beside("key"))),
            "cert" => files.client = Some((path.clone(), beside("key"))),
            "key" if !paths.contains(&beside("cert")) => return Err(missing(&beside("cert"))),
            _ => {}
        }
    }
    Ok(files)
}

fn read(path: &Path) -> Result<Vec<u8>> {
    let what = || format!("read {}", path.display());
    let mut bytes = Vec::new();
    let file = std::fs::File::open(path).context(what)?;
    file.take(limits::CERT_SIZE + 1).read_to_end(&mut bytes).context(what)?;
    if bytes.len() as u64 > limits::CERT_SIZE {
        return Err(Error::invalid(format!("{}: larger than {} bytes", path.display(), limits::CERT_SIZE)));
    }
    Ok(bytes)
}

fn certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>> {
    let bytes = read(path)?;
    let all: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&bytes).collect();
    match all {
        Ok(all) if !all.is_empty() => Ok(all),
        _ => Err(Error::invalid(format!("{}: no certificate in PEM form", path.display()))),
    }
}

fn private_key(path: &Path) -> Result<PrivateKeyDer<'static>> {
    // The parser's own message could quote the file; only its name is said.
    PrivateKeyDer::from_pem_slice(&read(path)?)
        .map_err(|_| Error::invalid(format!("{}: no private key in PEM form", path.display())))
}
