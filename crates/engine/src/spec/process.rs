//! From image and request to the process: what runs, with which environment, where.

use crate::model::{ContainerSpec, NetworkMode, ResolvedProcess};
use crate::signals;
use oci::image::{ExecConfig, ImageConfig};
use oci::{Error, Result};
use std::collections::BTreeSet;

const PATH: &str = "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// Takes the image's configuration in.
pub(crate) fn resolve(id: &str, spec: &ContainerSpec, image: &ImageConfig) -> Result<ResolvedProcess> {
    let empty = ExecConfig::default();
    let config = image.config.as_ref().unwrap_or(&empty);
    let (entrypoint, command) = match &spec.entrypoint {
        Some(given) => (given.clone(), spec.command.clone().unwrap_or_default()),
        None => {
            let command = spec.command.clone().filter(|c| !c.is_empty());
            (config.entrypoint.clone().unwrap_or_default(), command.or_else(|| config.cmd.clone()).unwrap_or_default())
        }
    };
    // `--entrypoint ""` arrives as one empty word.
    let entrypoint: Vec<String> = if entrypoint == [""] { Vec::new() } else { entrypoint };
    let entrypoint_len = entrypoint.len();
    let args: Vec<String> = entrypoint.into_iter().chain(command).collect();
    if args.is_empty() {
        return Err(Error::invalid("no command specified"));
    }
    let filled = |given: &str, image: &Option<String>, default: &str| match (given, image.as_deref().unwrap_or("")) {
        ("", "") => default.to_owned(),
        ("", image) => image.to_owned(),
        (given, _) => given.to_owned(),
    };
    let cwd = filled(&spec.cwd, &config.working_dir, "/");
    if !cwd.starts_with('/') {
        return Err(Error::invalid(format!(
            "the working directory '{cwd}' is invalid, it needs to be an absolute path"
        )));
    }
    let mut labels = config.labels.clone().unwrap_or_default();
    labels.extend(spec.labels.clone());
    let mut exposed: BTreeSet<String> = config.exposed_ports.iter().flatten().map(|(port, _)| port.clone()).collect();
    exposed.extend(spec.exposed_ports.iter().cloned());
    exposed.extend(spec.ports.iter().map(|p| format!("{}/{}", p.container_port, p.protocol)));
    let hostname = match &spec.network {
        NetworkMode::Host if spec.hostname.is_empty() => host_name(),
        _ if spec.hostname.is_empty() => id[..12.min(id.len())].to_owned(),
        _ => spec.hostname.clone(),
    };
    let stop_signal = match spec.stop_signal.as_deref().or(config.stop_signal.as_deref()).filter(|s| !s.is_empty()) {
        Some(given) => signals::name(signals::parse(given)?),
        None => "SIGTERM".into(),
    };
    Ok(ResolvedProcess {
        args,
        entrypoint_len,
        env: merge_env(&spec.env, config.env.as_deref().unwrap_or_default()),
        cwd,
        user: filled(&spec.user, &config.user, ""),
        stop_signal,
        labels,
        exposed_ports: exposed.into_iter().collect(),
        hostname,
    })
}

fn host_name() -> String {
    std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default().trim().to_owned()
}

fn key(entry: &str) -> &str {
    entry.split_once('=').map_or(entry, |(key, _)| key)
}

/// The request's entries first, then what only the image sets, as Docker shows them.
fn merge_env(given: &[String], image: &[String]) -> Vec<String> {
    let rest = image.iter().filter(|entry| !given.iter().any(|g| key(g) == key(entry)));
    given.iter().chain(rest).cloned().collect()
}

/// The environment that the process gets. An entry without `=` removes a default.
pub(crate) fn environment(process: &ResolvedProcess, tty: bool) -> Vec<String> {
    let mut env = vec![PATH.to_owned(), format!("HOSTNAME={}", process.hostname)];
    if tty {
        env.push("TERM=xterm".into());
    }
    overlay(&mut env, &process.env);
    env
}

/// Adds, replaces or removes entries.
pub(crate) fn overlay(env: &mut Vec<String>, changes: &[String]) {
    for change in changes {
        let at = env.iter().position(|entry| key(entry) == key(change));
        match (at, change.contains('=')) {
            (Some(at), true) => env[at] = change.clone(),
            (Some(at), false) => drop(env.remove(at)),
            (None, true) => env.push(change.clone()),
            (None, false) => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn image(entrypoint: &[&str], cmd: &[&str]) -> ImageConfig {
        let list = |words: &[&str]| serde_json::json!(words);
        serde_json::from_value(serde_json::json!({
            "os": "linux", "architecture": "amd64", "rootfs": {"type": "layers", "diff_ids": []},
            "config": {"Entrypoint": list(entrypoint), "Cmd": list(cmd), "Env": ["A=1", "B=2"], "User": "7",
                       "WorkingDir": "/w", "StopSignal": "3", "Labels": {"x": "image", "y": "image"},
                       "ExposedPorts": {"80/tcp": {}}}
        }))
        .unwrap()
    }

    fn args(spec: &ContainerSpec, image: &ImageConfig) -> Vec<String> {
        resolve(&"f".repeat(64), spec, image).unwrap().args
    }

    #[test]
    fn entrypoint_and_command_as_docker_has_them() {
        let words = |w: &[&str]| Some(w.iter().map(|&s| s.to_owned()).collect::<Vec<_>>());
        let image = image(&["/entry"], &["cmd"]);
        let with = |entrypoint, command| ContainerSpec { entrypoint, command, ..Default::default() };
        assert_eq!(args(&with(None, None), &image), ["/entry", "cmd"]);
        assert_eq!(args(&with(None, words(&["x"])), &image), ["/entry", "x"]);
        assert_eq!(args(&with(words(&["e"]), None), &image), ["e"], "the image's command goes with its entrypoint");
        assert_eq!(args(&with(words(&[""]), words(&["x", "y"])), &image), ["x", "y"]);
        let error = resolve("id", &with(words(&[""]), None), &image).unwrap_err();
        assert_eq!(error.to_string(), "no command specified");
    }

    #[test]
    fn defaults_of_the_image_and_their_override() {
        let image = image(&[], &["cmd"]);
        let spec = ContainerSpec {
            env: vec!["B=9".into(), "A".into(), "C=3".into()],
            labels: [("x".into(), "mine".into())].into(),
            ..Default::default()
        };
        let process = resolve(&"f".repeat(64), &spec, &image).unwrap();
        assert_eq!((process.cwd.as_str(), process.user.as_str()), ("/w", "7"));
        assert_eq!(process.stop_signal, "SIGQUIT");
        assert_eq!(process.labels["x"], "mine");
        assert_eq!(process.labels["y"], "image");
        assert_eq!(process.hostname, "ffffffffffff");
        let env = environment(&process, true);
        assert_eq!(env[2..], ["TERM=xterm", "B=9", "C=3"]);
    }
}
