//! The client's configuration, `~/.docker/config.json`: credentials for registries, and a few preferences.
//!
//! Credentials come from a helper program (`credHelpers`, `credsStore`) or from `auths`. Secrets never reach a message.

mod helper;

use crate::failure::{Failure, Result};
use base64::Engine;
use base64::engine::general_purpose::{STANDARD, URL_SAFE};
use serde_json::{Map, Value, json};
use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use wire::docker::auth::AuthConfig;

/// The key of Docker Hub in `auths`.
pub(crate) const HUB: &str = "https://index.docker.io/v1/";
/// No configuration is longer than this.
const SIZE_LIMIT: u64 = 16 << 20;

/// The configuration file, as read.
#[derive(Debug, Default)]
pub(crate) struct ConfigFile {
    path: PathBuf,
    values: Map<String, Value>,
}

impl ConfigFile {
    /// From `directory`, else `DOCKER_CONFIG`, else `~/.docker`. A missing file is an empty one.
    pub(crate) fn load(directory: Option<&str>) -> Result<Self> {
        let set = |name| std::env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from);
        let directory = directory
            .map(PathBuf::from)
            .or_else(|| set("DOCKER_CONFIG"))
            .or_else(|| set("HOME").map(|home| home.join(".docker")));
        let Some(directory) = directory else { return Ok(Self::default()) };
        let path = directory.join("config.json");
        let text = match read_bounded(&path) {
            Ok(text) => text,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
                return Ok(Self { path, values: Map::new() });
            }
            Err(error) => {
                crate::output::error(&format!("WARNING: Error loading config file: {}: {error}", path.display()));
                return Ok(Self { path, values: Map::new() });
            }
        };
        match serde_json::from_str(&text) {
            Ok(values) => Ok(Self { path, values }),
            Err(error) => {
                // Only the place: the text may hold secrets.
                let place = format!("line {}, column {}", error.line(), error.column());
                Err(Failure::new(format!("{} is not valid JSON ({place}); repair or remove it", path.display())))
            }
        }
    }

    /// Where the file is or would be.
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// A preference that is a text, as `detachKeys` or `psFormat`.
    pub(crate) fn text(&self, key: &str) -> &str {
        self.values.get(key).and_then(Value::as_str).unwrap_or_default()
    }

    /// The credentials for a registry, by its domain (`docker.io` for the Hub); empty if there are none.
    pub(crate) async fn credentials(&self, domain: &str) -> Result<AuthConfig> {
        let server = server_key(domain);
        if let Some(helper) = self.helper_for(&server, domain) {
            return helper::get(helper, &server).await;
        }
        let Some(auths) = self.values.get("auths").and_then(Value::as_object) else { return Ok(AuthConfig::default()) };
        let entry = auths
            .get(&server)
            .or_else(|| auths.iter().find(|(key, _)| host_of(key) == host_of(&server)).map(|(_, value)| value));
        let Some(entry) = entry else { return Ok(AuthConfig::default()) };
        let mut auth: AuthConfig = serde_json::from_value(entry.clone())
            .map_err(|_| Failure::new(format!("{}: the entry for {server} is malformed", self.path.display())))?;
        if !auth.auth.is_empty() {
            let decoded = STANDARD.decode(auth.auth.trim()).ok().and_then(|bytes| String::from_utf8(bytes).ok());
            let pair = decoded.as_deref().and_then(|text| text.split_once(':'));
            let (user, secret) = pair.ok_or_else(|| {
                Failure::new(format!(
                    "{}: the credentials for {server} are not base64 of user:password",
                    self.path.display()
                ))
            })?;
            auth.username = user.to_owned();
            auth.password = secret.trim_end_matches('\0').to_owned();
            auth.auth = String::new();
        }
        auth.server_address = server;
        Ok(auth)
    }

    /// The value of `X-Registry-Auth` for a registry.
    pub(crate) async fn registry_header(&self, domain: &str) -> Result<String> {
        Ok(header(&self.credentials(domain).await?))
    }

    /// The value of `X-Registry-Auth` for an image's name.
    pub(crate) async fn header_for(&self, image: &oci::ImageRef) -> Result<String> {
        self.registry_header(image.domain()).await
    }

    fn helper_for(&self, server: &str, domain: &str) -> Option<&str> {
        let per_host = self.values.get("credHelpers").and_then(Value::as_object);
        let own = per_host.and_then(|m| m.get(server).or_else(|| m.get(domain))).and_then(Value::as_str);
        own.or_else(|| Some(self.text("credsStore"))).filter(|name| !name.is_empty())
    }

    /// Keeps credentials: with the helper, or in the file. Gives the words to warn with, if any.
    pub(crate) async fn store(&mut self, auth: &AuthConfig, domain: &str) -> Result<Option<String>> {
        let server = server_key(domain);
        if let Some(helper) = self.helper_for(&server, domain).map(str::to_owned) {
            helper::store(&helper, &server, auth).await?;
            // The entry itself says that somebody is logged in.
            self.entry(&server, json!({}))?;
            self.save()?;
            return Ok(None);
        }
        let pair = STANDARD.encode(format!("{}:{}", auth.username, auth.password));
        let mut entry = json!({ "auth": pair });
        if !auth.identity_token.is_empty() {
            entry =
                json!({ "auth": STANDARD.encode(format!("{}:", auth.username)), "identitytoken": auth.identity_token });
        }
        self.entry(&server, entry)?;
        self.save()?;
        Ok(Some(format!(
            "WARNING! Your credentials are stored unencrypted in '{}'.\nConfigure a credential helper (credsStore) to \
             remove this warning.",
            self.path.display()
        )))
    }

    /// Forgets credentials; whether there were any.
    pub(crate) async fn erase(&mut self, domain: &str) -> Result<bool> {
        let server = server_key(domain);
        if let Some(helper) = self.helper_for(&server, domain).map(str::to_owned) {
            helper::erase(&helper, &server).await?;
        }
        let auths = self.values.get_mut("auths").and_then(Value::as_object_mut);
        let known = auths.is_some_and(|auths| auths.remove(&server).is_some() | auths.remove(domain).is_some());
        if known {
            self.save()?;
        }
        Ok(known)
    }

    fn entry(&mut self, server: &str, entry: Value) -> Result<()> {
        let auths = self.values.entry("auths").or_insert_with(|| json!({}));
        match auths.as_object_mut() {
            Some(auths) => {
                auths.insert(server.to_owned(), entry);
                Ok(())
            }
            None => Err(Failure::new(format!("{}: \"auths\" is not an object", self.path.display()))),
        }
    }

    /// Writes the file anew, readable by its owner only.
    fn save(&self) -> Result<()> {
        let fail = |error: std::io::Error| Failure::new(format!("write {}: {error}", self.path.display()));
        let directory = self.path.parent().filter(|p| !p.as_os_str().is_empty());
        let directory = directory.ok_or_else(|| Failure::new("no place for credentials: set HOME or DOCKER_CONFIG"))?;
        std::fs::create_dir_all(directory).map_err(fail)?;
        // A link to the file stays a link.
        let target = std::fs::canonicalize(&self.path).unwrap_or_else(|_| self.path.clone());
        let temporary = target.with_file_name(format!("config.json.{}", std::process::id()));
        let mut text = serde_json::to_string_pretty(&self.values).map_err(|e| Failure::new(e.to_string()))?;
        text.push('\n');
        let write = || -> std::io::Result<()> {
            let mut file = std::fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(&temporary)?;
            file.write_all(text.as_bytes())?;
            file.sync_all()?;
            std::fs::rename(&temporary, &target)
        };
        write().map_err(|error| {
            let _ = std::fs::remove_file(&temporary);
            fail(error)
        })
    }
}

fn read_bounded(path: &Path) -> std::io::Result<String> {
    use std::io::Read;
    let mut text = String::new();
    std::fs::File::open(path)?.take(SIZE_LIMIT).read_to_string(&mut text)?;
    Ok(text)
}

/// A registry's key in `auths`.
fn server_key(domain: &str) -> String {
    match domain {
        "docker.io" | "index.docker.io" | "registry-1.docker.io" => HUB.to_owned(),
        other => other.to_owned(),
    }
}

/// The host in a key, which old clients wrote as a URL.
fn host_of(key: &str) -> &str {
    let rest = key.strip_prefix("https://").or_else(|| key.strip_prefix("http://")).unwrap_or(key);
    rest.split('/').next().unwrap_or_default()
}

/// Credentials as the header's value.
pub(crate) fn header(auth: &AuthConfig) -> String {
    URL_SAFE.encode(serde_json::to_vec(auth).unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn block<T>(work: impl Future<Output = T>) -> T {
        tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(work)
    }

    fn config(text: &str) -> ConfigFile {
        ConfigFile { path: "/nowhere/config.json".into(), values: serde_json::from_str(text).unwrap() }
    }

    #[test]
    fn auths_by_host() {
        let config = config(
            r#"{"auths":{"https://index.docker.io/v1/":{"auth":"dTpw"},"https://r.example:5000/v2/":{"auth":"YTpiOmM="},
                "t.example":{"identitytoken":"tok"},"bad.example":{"auth":"!!"}}}"#,
        );
        let hub = block(config.credentials("docker.io")).unwrap();
        assert_eq!((hub.username.as_str(), hub.password.as_str()), ("u", "p"));
        let other = block(config.credentials("r.example:5000")).unwrap();
        assert_eq!((other.username.as_str(), other.password.as_str()), ("a", "b:c"));
        assert_eq!(block(config.credentials("t.example")).unwrap().identity_token, "tok");
        assert_eq!(block(config.credentials("none.example")).unwrap(), AuthConfig::default());
        assert!(block(config.credentials("bad.example")).is_err());
    }

    #[test]
    fn the_header_is_url_safe() {
        let auth = AuthConfig { username: "u".into(), password: "??>>".into(), ..Default::default() };
        let text = header(&auth);
        assert!(!text.contains(['+', '/']), "{text}");
        let back: AuthConfig = serde_json::from_slice(&URL_SAFE.decode(text).unwrap()).unwrap();
        assert_eq!(back, auth);
        assert_eq!(header(&AuthConfig::default()), "e30=");
    }

    #[test]
    fn a_login_survives_the_file_and_keeps_what_else_is_there() {
        let directory = std::env::temp_dir().join(format!("sampan-test-{}-config", std::process::id()));
        std::fs::create_dir_all(&directory).unwrap();
        std::fs::write(
            directory.join("config.json"),
            r#"{"detachKeys":"ctrl-x","auths":{"a.example":{"auth":"eDp5"}}}"#,
        )
        .unwrap();
        let mut config = ConfigFile::load(directory.to_str()).unwrap();
        let auth = AuthConfig { username: "me".into(), password: "secret".into(), ..Default::default() };
        assert!(block(config.store(&auth, "b.example")).unwrap().is_some());
        let again = ConfigFile::load(directory.to_str()).unwrap();
        assert_eq!(again.text("detachKeys"), "ctrl-x");
        assert_eq!(block(again.credentials("b.example")).unwrap().password, "secret");
        assert_eq!(block(again.credentials("a.example")).unwrap().username, "x");
        use std::os::unix::fs::PermissionsExt;
        let mode = std::fs::metadata(again.path()).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
        let mut again = again;
        assert!(block(again.erase("b.example")).unwrap());
        assert!(!block(again.erase("b.example")).unwrap());
        std::fs::remove_dir_all(directory).unwrap();
    }
}
