//! A registry that misbehaves on purpose, and images that no builder would make.

use serde_json::json;
use sha2::Digest as _;
use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::io::{BufRead, BufReader, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::time::Duration;

/// How a blob is served.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// As it should be.
    None,
    /// The bytes are others than the digest says.
    Corrupt,
    /// The body ends early, every time, although the length was announced.
    Cut,
    /// The body ends early the first time only.
    CutOnce,
    /// Nothing comes after half of the body, and the line stays open.
    Stall,
    /// A Content-Length larger than what follows and than the descriptor says.
    LieAboutLength,
    /// `503 Service Unavailable` twice, then as it should be.
    BusyTwice,
}

struct Served {
    bytes: Vec<u8>,
    media_type: String,
    fault: Fault,
    requests: u32,
}

/// The registry; it lives until the test's process ends.
pub struct HostileRegistry {
    port: u16,
    served: Arc<Mutex<BTreeMap<String, Served>>>,
}

/// `sha256:<hex>` of `bytes`.
pub fn digest(bytes: &[u8]) -> String {
    let mut text = String::from("sha256:");
    for byte in sha2::Sha256::digest(bytes) {
        let _ = write!(text, "{byte:02x}");
    }
    text
}

/// One entry of a hand-made tar: a regular file, or a link of type `1` (hard) or `2` (symbolic).
pub struct Entry<'a> {
    /// The name, unchecked.
    pub name: &'a str,
    /// tar's type flag.
    pub kind: u8,
    /// The target of a link.
    pub link: &'a str,
    /// The contents of a file.
    pub data: &'a [u8],
}

/// A regular file.
pub fn file<'a>(name: &'a str, data: &'a [u8]) -> Entry<'a> {
    Entry { name, kind: b'0', link: "", data }
}

/// A tar stream of `entries`, with no check of any name (ustar; POSIX.1-1988).
pub fn tar(entries: &[Entry<'_>]) -> Vec<u8> {
    let mut out = Vec::new();
    for entry in entries {
        let mut header = [0u8; 512];
        header[..entry.name.len()].copy_from_slice(entry.name.as_bytes());
        header[100..107].copy_from_slice(b"0000755");
        header[108..115].copy_from_slice(b"0000000");
        header[116..123].copy_from_slice(b"0000000");
        header[124..135].copy_from_slice(format!("{:011o}", entry.data.len()).as_bytes());
        header[136..147].copy_from_slice(b"00000000000");
        header[148..156].copy_from_slice(b"        ");
        header[156] = entry.kind;
        header[157..157 + entry.link.len()].copy_from_slice(entry.link.as_bytes());
        header[257..265].copy_from_slice(b"ustar\x0000");
        let sum: u32 = header.iter().map(|b| u32::from(*b)).sum();
        header[148..155].copy_from_slice(format!("{sum:06o}\0").as_bytes());
        out.extend_from_slice(&header);
        out.extend_from_slice(entry.data);
        out.resize(out.len().next_multiple_of(512), 0);
    }
    out.resize(out.len() + 1024, 0);
    out
}

impl HostileRegistry {
    /// Listens on a free port of loopback.
    ///
    /// # Panics
    /// If no port can be had.
    pub fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let port = listener.local_addr().expect("an address").port();
        let served: Arc<Mutex<BTreeMap<String, Served>>> = Arc::default();
        let shared = served.clone();
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let shared = shared.clone();
                std::thread::spawn(move || {
                    let _ = serve(&stream, &shared);
                });
            }
        });
        Self { port, served }
    }

    /// Adds an image of uncompressed layers; its blobs are served with the fault beside them.
    /// Gives the name to pull.
    pub fn add(&self, repository: &str, layers: &[(Vec<u8>, Fault)]) -> String {
        let ids: Vec<String> = layers.iter().map(|(bytes, _)| digest(bytes)).collect();
        let config = json!({
            "architecture": if cfg!(target_arch = "aarch64") { "arm64" } else { "amd64" },
            "os": "linux", "config": {"Cmd": ["/bin/true"]}, "rootfs": {"type": "layers", "diff_ids": ids},
        })
        .to_string()
        .into_bytes();
        let descriptors: Vec<_> = layers
            .iter()
            .map(|(bytes, _)| {
                json!({"mediaType": "application/vnd.oci.image.layer.v1.tar", "digest": digest(bytes), "size": bytes.len()})
            })
            .collect();
        let media_type = "application/vnd.oci.image.manifest.v1+json";
        let manifest = json!({
            "schemaVersion": 2, "mediaType": media_type, "layers": descriptors,
            "config": {"mediaType": "application/vnd.oci.image.config.v1+json", "digest": digest(&config), "size": config.len()},
        })
        .to_string()
        .into_bytes();
        let mut served = self.served.lock().expect("no panic while held");
        let mut put = |path: String, bytes: Vec<u8>, media_type: &str, fault| {
            served.insert(path, Served { bytes, media_type: media_type.into(), fault, requests: 0 });
        };
        let octets = "application/octet-stream";
        put(format!("/v2/{repository}/manifests/{}", digest(&manifest)), manifest.clone(), media_type, Fault::None);
        put(format!("/v2/{repository}/manifests/latest"), manifest, media_type, Fault::None);
        put(format!("/v2/{repository}/blobs/{}", digest(&config)), config, octets, Fault::None);
        for (bytes, fault) in layers {
            put(format!("/v2/{repository}/blobs/{}", digest(bytes)), bytes.clone(), octets, *fault);
        }
        format!("127.0.0.1:{}/{repository}:latest", self.port)
    }
}

fn serve(stream: &TcpStream, served: &Mutex<BTreeMap<String, Served>>) -> std::io::Result<()> {
    let mut reader = BufReader::new(stream.try_clone()?);
    let mut out = stream.try_clone()?;
    loop {
        let mut line = String::new();
        if reader.read_line(&mut line)? == 0 {
            return Ok(());
        }
        let mut words = line.split(' ');
        let (method, path) = (words.next().unwrap_or("").to_owned(), words.next().unwrap_or("").to_owned());
        let mut from = 0;
        loop {
            let mut header = String::new();
            if reader.read_line(&mut header)? == 0 || header == "\r\n" {
                break;
            }
            let header = header.to_ascii_lowercase();
            if let Some(range) = header.strip_prefix("range: bytes=") {
                from = range.split('-').next().and_then(|n| n.trim().parse().ok()).unwrap_or(0);
            }
        }
        let (bytes, media_type, fault, request) = {
            let mut served = served.lock().expect("no panic while held");
            match served.get_mut(&path) {
                Some(found) => {
                    found.requests += u32::from(method == "GET");
                    (found.bytes.clone(), found.media_type.clone(), found.fault, found.requests)
                }
                None if path == "/v2/" => (b"{}".to_vec(), "application/json".into(), Fault::None, 1),
                None => {
                    let body = br#"{"errors":[{"code":"MANIFEST_UNKNOWN","message":"manifest unknown"}]}"#;
                    write!(out, "HTTP/1.1 404 Not Found\r\nContent-Length: {}\r\n\r\n", body.len())?;
                    out.write_all(if method == "HEAD" { b"" } else { body })?;
                    continue;
                }
            }
        };
        if fault == Fault::BusyTwice && request <= 2 {
            write!(out, "HTTP/1.1 503 Service Unavailable\r\nContent-Length: 0\r\n\r\n")?;
            continue;
        }
        let body = match fault {
            Fault::Corrupt => bytes.iter().map(|b| b ^ 0x20).collect(),
            _ => bytes.clone(),
        };
        let part = &body[from.min(body.len())..];
        let announced = if fault == Fault::LieAboutLength { part.len() + 4096 } else { part.len() };
        let status = if from > 0 { "206 Partial Content" } else { "200 OK" };
        write!(out, "HTTP/1.1 {status}\r\nContent-Type: {media_type}\r\nContent-Length: {announced}\r\n")?;
        if from > 0 {
            write!(out, "Content-Range: bytes {from}-{}/{}\r\n", body.len() - 1, body.len())?;
        }
        if path.contains("/manifests/") {
            write!(out, "Docker-Content-Digest: {}\r\n", digest(&bytes))?;
        }
        out.write_all(b"\r\n")?;
        if method == "HEAD" {
            continue;
        }
        match fault {
            Fault::Cut => {
                out.write_all(&part[..part.len() / 2])?;
                return stream.shutdown(std::net::Shutdown::Both);
            }
            Fault::CutOnce if request == 1 => {
                out.write_all(&part[..part.len() / 2])?;
                return stream.shutdown(std::net::Shutdown::Both);
            }
            Fault::LieAboutLength => {
                out.write_all(part)?;
                return stream.shutdown(std::net::Shutdown::Both);
            }
            Fault::Stall => {
                out.write_all(&part[..part.len() / 2])?;
                std::thread::sleep(Duration::from_secs(600));
                return Ok(());
            }
            _ => out.write_all(part)?,
        }
    }
}
