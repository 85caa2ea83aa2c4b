//! Lines of a Dockerfile that change an image's configuration: what `docker import --change` takes.

use oci::image::{Empty, ExecConfig};
use oci::{Error, Result};
use serde_json::Value;
use std::collections::BTreeMap;

/// Applies one line, such as `CMD ["/bin/sh"]` or `ENV A=1 B="x y"`.
///
/// # Errors
/// `InvalidArgument` for a line that isn't understood, `Unsupported` for an instruction that can't be used here.
pub(super) fn apply(config: &mut ExecConfig, line: &str) -> Result<()> {
    let line = line.trim();
    let (word, rest) = line.split_once(char::is_whitespace).unwrap_or((line, ""));
    let rest = rest.trim();
    let bad = |why: &str| Error::invalid(format!("change {line:?}: {why}"));
    if rest.is_empty() {
        return Err(bad("it needs an argument"));
    }
    match word.to_ascii_uppercase().as_str() {
        "CMD" => config.cmd = Some(command(rest)),
        "ENTRYPOINT" => config.entrypoint = Some(command(rest)),
        "ENV" => {
            let pairs = pairs(rest).ok_or_else(|| bad("expected NAME=value"))?;
            let env = config.env.get_or_insert_default();
            for (name, value) in pairs {
                env.retain(|known| known.split('=').next() != Some(name.as_str()));
                env.push(format!("{name}={value}"));
            }
        }
        "LABEL" => {
            let labels = pairs(rest).ok_or_else(|| bad("expected name=value"))?;
            config.labels.get_or_insert_default().extend(labels);
        }
        "EXPOSE" => {
            let mut ports = BTreeMap::new();
            for port in rest.split_whitespace() {
                let (number, protocol) = port.split_once('/').unwrap_or((port, "tcp"));
                let known = matches!(protocol, "tcp" | "udp" | "sctp");
                if !known || number.parse::<u16>().map_or(true, |n| n == 0) {
                    return Err(bad("expected port[/tcp|udp|sctp]"));
                }
                ports.insert(format!("{number}/{protocol}"), Empty {});
            }
            config.exposed_ports.get_or_insert_default().extend(ports);
        }
        "VOLUME" => {
            let volumes = list(rest).unwrap_or_else(|| rest.split_whitespace().map(Into::into).collect());
            config.volumes.get_or_insert_default().extend(volumes.into_iter().map(|path| (path, Empty {})));
        }
        "USER" => config.user = Some(rest.into()),
        "WORKDIR" if rest.starts_with('/') => config.working_dir = Some(rest.into()),
        "WORKDIR" => {
            let base = config.working_dir.as_deref().unwrap_or("/").trim_end_matches('/');
            config.working_dir = Some(format!("{base}/{rest}"));
        }
        "STOPSIGNAL" => config.stop_signal = Some(rest.into()),
        "ONBUILD" => {
            let entry = config.other.entry("OnBuild").or_insert_with(|| Value::Array(Vec::new()));
            if let Value::Array(all) = entry {
                all.push(Value::String(rest.into()));
            }
        }
        other => return Err(Error::unsupported(format!("change {other} is not supported here"))),
    }
    Ok(())
}

/// `["a", "b"]`, or a line for the shell.
fn command(rest: &str) -> Vec<String> {
    list(rest).unwrap_or_else(|| vec!["/bin/sh".into(), "-c".into(), rest.into()])
}

fn list(rest: &str) -> Option<Vec<String>> {
    serde_json::from_str(rest).ok()
}

/// `A=1 B="x y" C=z\ w`, or the old `A x y`.
fn pairs(text: &str) -> Option<BTreeMap<String, String>> {
    let first = text.split_whitespace().next()?;
    if !first.contains('=') {
        let (name, value) = text.split_once(char::is_whitespace)?;
        return Some(BTreeMap::from([(name.to_owned(), value.trim().to_owned())]));
    }
    let mut all = BTreeMap::new();
    for word in words(text)? {
        let (name, value) = word.split_once('=').filter(|(name, _)| !name.is_empty())?;
        all.insert(name.to_owned(), value.to_owned());
    }
    Some(all)
}

/// Words with quotes and backslashes undone; `None` for a quote that isn't closed.
fn words(text: &str) -> Option<Vec<String>> {
    let (mut all, mut word, mut begun) = (Vec::new(), String::new(), false);
    let mut quote = None;
    let mut chars = text.chars();
    while let Some(c) = chars.next() {
        match (quote, c) {
            (Some(q), c) if c == q => quote = None,
            (None, '"' | '\'') => (quote, begun) = (Some(c), true),
            (Some('"') | None, '\\') => {
                word.push(chars.next()?);
                begun = true;
            }
            (None, c) if c.is_whitespace() => {
                if std::mem::take(&mut begun) {
                    all.push(std::mem::take(&mut word));
                }
            }
            _ => {
                word.push(c);
                begun = true;
            }
        }
    }
    if quote.is_some() {
        return None;
    }
    if begun {
        all.push(word);
    }
    Some(all)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn applies_lines() {
        let mut config = ExecConfig::default();
        for line in [
            r#"CMD ["/bin/sh", "-l"]"#,
            "entrypoint echo hi",
            r#"ENV A=1 B="x y" C=z\ w"#,
            "ENV A other value",
            "EXPOSE 80 53/udp",
            r#"VOLUME ["/a b"]"#,
            "WORKDIR /x",
            "WORKDIR y",
            "LABEL a.b=c",
            "USER 1:2",
            "ONBUILD RUN x",
        ] {
            apply(&mut config, line).unwrap();
        }
        assert_eq!(config.cmd.unwrap(), ["/bin/sh", "-l"]);
        assert_eq!(config.entrypoint.unwrap(), ["/bin/sh", "-c", "echo hi"]);
        assert_eq!(config.env.unwrap(), ["B=x y", "C=z w", "A=other value"]);
        assert_eq!(config.exposed_ports.unwrap().into_keys().collect::<Vec<_>>(), ["53/udp", "80/tcp"]);
        assert_eq!(config.working_dir.unwrap(), "/x/y");
        assert_eq!(config.volumes.unwrap().into_keys().collect::<Vec<_>>(), ["/a b"]);
    }

    #[test]
    fn refuses_lines() {
        let mut config = ExecConfig::default();
        for bad in ["", "CMD", "ENV A", "ENV A=\"x", "EXPOSE x", "EXPOSE 0", "RUN x", "ENV =x"] {
            assert!(apply(&mut config, bad).is_err(), "{bad}");
        }
        assert_eq!(config, ExecConfig::default());
    }
}
