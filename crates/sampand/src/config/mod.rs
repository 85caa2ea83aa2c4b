//! Configuration in two steps: flags and file as given, then [`Settings`] with the defaults filled in. The daemon works
//! without either.

mod file;
mod flags;

pub use file::{File, Registry};
pub use flags::Flags;

use engine::{BridgeConfig, RegistryConfig, RegistryHost, RuntimeConfig};
use oci::{Context, Error, Result};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

/// The file that is read if it is there.
pub const DEFAULT_FILE: &str = "/etc/sampan/sampand.toml";
/// The name of our own runtime.
const OWN_RUNTIME: &str = "sampan";

/// What the daemon works with.
#[derive(Debug, Clone)]
pub struct Settings {
    /// What lasts.
    pub root: PathBuf,
    /// What a reboot may take.
    pub state: PathBuf,
    /// The Docker door's socket.
    pub docker_socket: PathBuf,
    /// The group that may use it; `None` for root alone.
    pub docker_group: Option<String>,
    /// `overlayfs` or `native`.
    pub snapshotter: String,
    /// The shim's program.
    pub shim: PathBuf,
    /// The network helper's program.
    pub net_helper: PathBuf,
    /// OCI runtimes by name.
    pub runtimes: BTreeMap<String, RuntimeConfig>,
    /// One of them.
    pub default_runtime: String,
    /// Parent of the containers' cgroups.
    pub cgroup_parent: String,
    /// The default network.
    pub bridge: BridgeConfig,
    /// Options of the json-file log where a container names none.
    pub log_options: BTreeMap<String, String>,
    /// The way to registries.
    pub registry: RegistryConfig,
    /// A filter for the daemon's own log: a level, or `target=level,...`.
    pub log_level: String,
    /// At the end, remove everything that was made: containers, volumes, networks.
    pub ephemeral: bool,
}

impl Settings {
    /// Reads the file and lays flags over it and it over the defaults.
    ///
    /// # Errors
    /// `NotFound` for a file named by a flag; `InvalidArgument` for an unknown key or a bad value, by name.
    pub fn resolve(flags: Flags) -> Result<Self> {
        let file = match &flags.config {
            Some(path) => File::read(path)?,
            None if Path::new(DEFAULT_FILE).exists() => File::read(Path::new(DEFAULT_FILE))?,
            None => File::default(),
        };
        let here = std::env::current_exe().ok().and_then(|exe| exe.parent().map(Path::to_owned));
        Self::lay(flags, file, here.as_deref())
    }

    /// `here` is the directory of the daemon's own program.
    fn lay(flags: Flags, file: File, here: Option<&Path>) -> Result<Self> {
        let state = absolute("state", flags.state.or(file.state), "/run/sampan")?;
        let mut runtimes = BTreeMap::from([(OWN_RUNTIME.to_owned(), own_runtime(here))]);
        for (name, runtime) in file.runtimes {
            let config = RuntimeConfig { path: runtime.path, systemd_cgroup: runtime.systemd_cgroup };
            runtimes.insert(name, config);
        }
        for text in &flags.runtime {
            let (name, path) = pair("runtime", text)?;
            runtimes.insert(name.into(), RuntimeConfig { path: path.into(), systemd_cgroup: false });
        }
        let default_runtime = flags.default_runtime.or(file.default_runtime).unwrap_or_else(|| OWN_RUNTIME.into());
        if !runtimes.contains_key(&default_runtime) {
            let known: Vec<_> = runtimes.keys().map(String::as_str).collect();
            return Err(Error::invalid(format!(
                "default-runtime {default_runtime:?} is none of the runtimes: {}",
                known.join(", ")
            )));
        }
        let mut log_options = file.log_options;
        for text in &flags.log_opt {
            let (name, value) = pair("log-opt", text)?;
            log_options.insert(name.into(), value.into());
        }
        let helper = |given: Option<PathBuf>, name: &str| given.unwrap_or_else(|| sibling(here, name));
        Ok(Self {
            root: absolute("root", flags.root.or(file.root), "/var/lib/sampan")?,
            docker_socket: match flags.docker_socket.or(file.docker_socket) {
                Some(path) => absolute("docker-socket", Some(path), "")?,
                None => state.join("docker.sock"),
            },
            state,
            docker_group: Some(flags.docker_group.or(file.docker_group).unwrap_or_else(|| "docker".into()))
                .filter(|group| !group.is_empty()),
            snapshotter: flags.snapshotter.or(file.snapshotter).unwrap_or_else(|| "overlayfs".into()),
            shim: helper(flags.shim.or(file.shim), "containerd-shim-sampan-v2"),
            net_helper: helper(flags.net_helper.or(file.net_helper), "sampan-net"),
            runtimes,
            default_runtime,
            cgroup_parent: flags.cgroup_parent.or(file.cgroup_parent).unwrap_or_else(|| "/sampan".into()),
            bridge: BridgeConfig {
                name: flags.bridge.or(file.bridge.name),
                subnet: flags.bridge_subnet.or(file.bridge.subnet),
                mtu: flags.bridge_mtu.or(file.bridge.mtu),
                restore_forwarding: flags.ephemeral,
            },
            log_options,
            registry: registries(file.registry, &flags.insecure_registry, &flags.registry_mirror)?,
            log_level: flags.log_level.or(file.log_level).unwrap_or_else(|| "info".into()),
            ephemeral: flags.ephemeral,
        })
    }
}

fn absolute(name: &str, given: Option<PathBuf>, default: &str) -> Result<PathBuf> {
    let path = given.unwrap_or_else(|| default.into());
    std::path::absolute(&path).context(|| format!("{name} {:?}", path.display()))
}

/// Splits `name=value`.
fn pair<'t>(flag: &str, text: &'t str) -> Result<(&'t str, &'t str)> {
    text.split_once('=')
        .filter(|(name, value)| !name.is_empty() && !value.is_empty())
        .ok_or_else(|| Error::invalid(format!("--{flag} {text:?}: expected name=value")))
}

/// The program `name` beside the daemon's, or else in PATH.
fn sibling(here: Option<&Path>, name: &str) -> PathBuf {
    let beside = here.map(|dir| dir.join(name)).filter(|path| path.exists());
    let in_path = || {
        let path = std::env::var_os("PATH")?;
        std::env::split_paths(&path).map(|dir| dir.join(name)).find(|path| path.is_file())
    };
    beside.or_else(in_path).unwrap_or_else(|| name.into())
}

fn own_runtime(here: Option<&Path>) -> RuntimeConfig {
    RuntimeConfig { path: sibling(here, "sampan-runtime"), systemd_cgroup: false }
}

fn registries(hosts: BTreeMap<String, Registry>, insecure: &[String], mirrors: &[String]) -> Result<RegistryConfig> {
    let mut config = RegistryConfig { proxies: engine::Proxies::from_env()?, ..RegistryConfig::default() };
    config.certs_dir = Some("/etc/docker/certs.d".into());
    for (name, host) in hosts {
        let client_cert = match (host.client_cert, host.client_key) {
            (Some(cert), Some(key)) => Some((cert, key)),
            (None, None) => None,
            _ => return Err(Error::invalid(format!("registry {name}: client-cert and client-key go together"))),
        };
        let host = RegistryHost {
            mirrors: host.mirrors,
            plain_http: host.plain_http,
            skip_verify: host.skip_verify,
            ca_files: host.ca,
            client_cert,
            headers: host.headers.into_iter().collect(),
        };
        config.hosts.insert(name, host);
    }
    for name in insecure {
        config.hosts.entry(name.clone()).or_default().skip_verify = true;
    }
    for text in mirrors {
        let (name, url) = pair("registry-mirror", text)?;
        config.hosts.entry(name.into()).or_default().mirrors.push(url.into());
    }
    Ok(config)
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::Parser;

    fn lay(args: &[&str], file: &str) -> Result<Settings> {
        let flags = Flags::try_parse_from(std::iter::once(&"sampand").chain(args)).unwrap();
        Settings::lay(flags, File::parse(file, Path::new("test.toml"))?, None)
    }

    #[test]
    fn defaults_need_neither_file_nor_flags() {
        let settings = lay(&[], "").unwrap();
        assert_eq!(settings.root, Path::new("/var/lib/sampan"));
        assert_eq!(settings.docker_socket, Path::new("/run/sampan/docker.sock"));
        assert_eq!(settings.default_runtime, "sampan");
        assert!(settings.runtimes.contains_key("sampan"));
        assert_eq!(settings.docker_group.as_deref(), Some("docker"));
    }

    #[test]
    fn flags_lie_over_the_file() {
        let file = r#"
            root = "/a"
            snapshotter = "native"
            default-runtime = "crun"
            [runtimes.crun]
            path = "/usr/bin/crun"
            [bridge]
            name = "br7"
            mtu = 1400
            [registry."host:5000"]
            plain-http = true
            mirrors = ["https://m"]
        "#;
        let flags = ["--root", "/b", "--runtime", "runc=/r", "--bridge", "br8", "--insecure-registry", "x:1"];
        let settings = lay(&flags, file).unwrap();
        assert_eq!((settings.root.as_path(), settings.snapshotter.as_str()), (Path::new("/b"), "native"));
        assert_eq!(settings.default_runtime, "crun");
        assert_eq!(settings.runtimes["runc"].path, Path::new("/r"));
        assert_eq!((settings.bridge.name.as_deref(), settings.bridge.mtu), (Some("br8"), Some(1400)));
        assert!(settings.registry.hosts["host:5000"].plain_http && settings.registry.hosts["x:1"].skip_verify);
    }

    #[test]
    fn what_is_wrong_is_refused_by_name() {
        for (file, words) in [
            ("rot = \"/a\"", "rot"),
            ("[bridge]\ncolour = 1", "colour"),
            ("root = 5", "root"),
            ("default-runtime = \"absent\"", "absent"),
            ("[registry.x]\nclient-cert = \"/c\"", "client-key"),
        ] {
            let error = lay(&[], file).unwrap_err();
            assert!(error.to_string().contains(words), "{file}: {error}");
        }
        assert!(lay(&["--runtime", "runc"], "").unwrap_err().message().contains("runc"));
        let error = Settings::resolve(Flags::try_parse_from(["sampand", "--config", "/no/such"]).unwrap()).unwrap_err();
        assert!(error.to_string().contains("/no/such"));
    }
}
