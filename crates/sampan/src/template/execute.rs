//! Nodes and a value into text.

use super::functions;
use super::parse::{Node, Pipe, Term};
use crate::value::Val;

/// Keys that the API leaves out where they are empty: asking for them is no mistake.
const OFTEN_ABSENT: &[&str] = &[
    "Health",
    "Healthcheck",
    "StopSignal",
    "StopTimeout",
    "Shell",
    "ExposedPorts",
    "Mounts",
    "Tmpfs",
    "Sysctls",
    "Init",
    "MacAddress",
    "Annotations",
    "StorageOpt",
    "NetworkDisabled",
    "ArgsEscaped",
    "Variant",
    "OsVersion",
    "Timeline",
    "Descriptor",
    "Manifests",
    "SizeRw",
    "SizeRootFs",
    "Status",
    "UsageData",
    "Labels",
    "Options",
    "Driver",
    "Type",
    "Runtime",
    "Name",
    "BindOptions",
    "VolumeOptions",
    "TmpfsOptions",
    "ReadOnly",
    "Source",
    "Volumes",
    "Entrypoint",
    "Cmd",
    "Env",
    "User",
    "WorkingDir",
    "OnBuild",
    "Config",
    "ImageManifestDescriptor",
    "Error",
];

/// Keys whose values are maps with keys of the user's own.
const FREE_MAPS: &[&str] = &[
    "Labels",
    "Options",
    "Sysctls",
    "Networks",
    "Ports",
    "Tmpfs",
    "Volumes",
    "ExposedPorts",
    "DriverOpts",
    "Annotations",
    "Containers",
    "Runtimes",
    "Attributes",
    "PortBindings",
    "StorageOpt",
    "Details",
];

/// Keys whose `null` is an empty list.
const LISTS: &[&str] = &[
    "Binds",
    "Env",
    "Cmd",
    "Entrypoint",
    "CapAdd",
    "CapDrop",
    "ExtraHosts",
    "GroupAdd",
    "SecurityOpt",
    "VolumesFrom",
    "Links",
    "Dns",
    "DnsOptions",
    "DnsSearch",
    "Aliases",
    "OnBuild",
    "Devices",
    "Ulimits",
    "MaskedPaths",
    "ReadonlyPaths",
    "ExecIDs",
    "DeviceRequests",
    "DeviceCgroupRules",
    "RepoTags",
    "RepoDigests",
    "DNSNames",
    "Shell",
    "Warnings",
    "Mounts",
];

/// What `null` looks like: as Go shows the empty value of the field that was asked for.
fn nothing(pipe: &Pipe) -> &'static str {
    let name = match pipe.commands.as_slice() {
        [command] => match command.as_slice() {
            [Term::Chain(_, names)] => names.last(),
            _ => None,
        },
        _ => None,
    };
    match name {
        Some(name) if LISTS.contains(&name.as_str()) => "[]",
        Some(name) if FREE_MAPS.contains(&name.as_str()) => "map[]",
        _ => "<no value>",
    }
}

/// How a list of nodes ended.
#[derive(PartialEq)]
enum Flow {
    On,
    Break,
    Continue,
}

struct Run<'a> {
    root: &'a Val,
    variables: Vec<(String, Val)>,
    out: String,
}

/// The text of `nodes` for `root`.
pub(super) fn execute(nodes: &[Node], root: &Val) -> Result<String, String> {
    let mut run = Run { root, variables: vec![("$".into(), root.clone())], out: String::new() };
    run.list(nodes, root)?;
    Ok(run.out)
}

impl Run<'_> {
    fn list(&mut self, nodes: &[Node], dot: &Val) -> Result<Flow, String> {
        for node in nodes {
            match node {
                Node::Text(text) => self.out.push_str(text),
                Node::Action(pipe) => {
                    let value = self.pipe(pipe, dot)?;
                    if pipe.variables.is_empty() {
                        self.out.push_str(&match value {
                            Val::Null => nothing(pipe).into(),
                            value => value.show(),
                        });
                    }
                }
                Node::If { test, then, other } | Node::With { test, then, other } => {
                    let scope = self.variables.len();
                    let value = self.pipe(test, dot)?;
                    let inner = if matches!(node, Node::With { .. }) { &value } else { dot };
                    let flow = if value.is_true() { self.list(then, inner)? } else { self.list(other, dot)? };
                    self.variables.truncate(scope);
                    if flow != Flow::On {
                        return Ok(flow);
                    }
                }
                Node::Range { over, body, other } => self.range(over, body, other, dot)?,
                Node::Break => return Ok(Flow::Break),
                Node::Continue => return Ok(Flow::Continue),
            }
        }
        Ok(Flow::On)
    }

    fn range(&mut self, over: &Pipe, body: &[Node], other: &[Node], dot: &Val) -> Result<(), String> {
        let scope = self.variables.len();
        let plain = Pipe { variables: Vec::new(), declares: false, commands: over.commands.clone() };
        let items: Vec<(Val, Val)> = match self.pipe(&plain, dot)? {
            Val::Null => Vec::new(),
            Val::List(items) => items.into_iter().enumerate().map(|(i, v)| (Val::Int(i as i128), v)).collect(),
            Val::Map(mut entries) => {
                entries.sort_by(|a, b| a.0.cmp(&b.0));
                entries.into_iter().map(|(k, v)| (Val::Str(k), v)).collect()
            }
            value => return Err(format!(":1: executing \"\" at <range>: range can't iterate over {}", value.show())),
        };
        if items.is_empty() {
            self.list(other, dot)?;
        }
        for (key, value) in items {
            let names = match over.variables.as_slice() {
                [] => vec![],
                [one] => vec![(one.clone(), value.clone())],
                [first, second, ..] => vec![(first.clone(), key), (second.clone(), value.clone())],
            };
            if over.declares {
                self.variables.extend(names);
            } else {
                for (name, value) in names {
                    self.assign(&name, value)?;
                }
            }
            let flow = self.list(body, &value)?;
            self.variables.truncate(scope);
            if flow == Flow::Break {
                break;
            }
        }
        Ok(())
    }

    fn assign(&mut self, name: &str, value: Val) -> Result<(), String> {
        let slot = self.variables.iter_mut().rev().find(|(n, _)| n == name);
        slot.map(|(_, old)| *old = value).ok_or_else(|| format!(":1: undefined variable {name:?}"))
    }

    fn pipe(&mut self, pipe: &Pipe, dot: &Val) -> Result<Val, String> {
        let mut last: Option<Val> = None;
        for command in &pipe.commands {
            last = Some(self.command(command, dot, last)?);
        }
        let value = last.unwrap_or(Val::Null);
        if let [name] = pipe.variables.as_slice() {
            if pipe.declares {
                self.variables.push((name.clone(), value.clone()));
            } else {
                self.assign(name, value.clone())?;
            }
        } else if !pipe.variables.is_empty() {
            return Err(":1: too many declarations in command".into());
        }
        Ok(value)
    }

    fn command(&mut self, terms: &[Term], dot: &Val, piped: Option<Val>) -> Result<Val, String> {
        let mut arguments = Vec::new();
        match &terms[0] {
            Term::Function(name) => {
                // `and` and `or` stop at the first argument that decides.
                let decides = |value: &Val| match name.as_str() {
                    "and" => !value.is_true(),
                    "or" => value.is_true(),
                    _ => false,
                };
                for term in &terms[1..] {
                    let value = self.term(term, dot)?;
                    if decides(&value) {
                        return Ok(value);
                    }
                    arguments.push(value);
                }
                arguments.extend(piped);
                functions::call(name, &arguments)
                    .map_err(|why| format!(":1: executing \"\" at <{name}>: error calling {name}: {why}"))
            }
            first => {
                let value = self.term(first, dot)?;
                for term in &terms[1..] {
                    arguments.push(self.term(term, dot)?);
                }
                arguments.extend(piped);
                match (value, arguments.as_slice()) {
                    (Val::Lookup(entries), [Val::Str(key)]) => {
                        Ok(Val::Str(entries.into_iter().find(|(k, _)| k == key).map(|(_, v)| v).unwrap_or_default()))
                    }
                    (Val::Lookup(_), _) => Err(":1: wrong number of args for method: want 1".into()),
                    (value, []) => Ok(value),
                    (value, _) => Err(format!(":1: can't give argument to non-function {}", value.show())),
                }
            }
        }
    }

    fn term(&mut self, term: &Term, dot: &Val) -> Result<Val, String> {
        match term {
            Term::Dot => Ok(dot.clone()),
            Term::Constant(value) => Ok(value.clone()),
            Term::Function(name) => functions::call(name, &[]),
            Term::Variable(name) => {
                let found = self.variables.iter().rev().find(|(n, _)| n == name);
                Ok(found.map_or_else(|| self.root.clone(), |(_, value)| value.clone()))
            }
            Term::Sub(pipe) => {
                let scope = self.variables.len();
                let value = self.pipe(pipe, dot);
                self.variables.truncate(scope);
                value
            }
            Term::Chain(base, names) => {
                let base = self.term(base, dot)?;
                let mut value = &base;
                let mut free = false;
                for (i, name) in names.iter().enumerate() {
                    value = match value {
                        // docker's own structs say `ID` where the API says `Id`.
                        Val::Map(entries) => match value.get(name).or_else(|| {
                            let same = |(key, _): &&(String, Val)| !free && key.eq_ignore_ascii_case(name);
                            entries.iter().find(same).map(|(_, inner)| inner)
                        }) {
                            Some(inner) => inner,
                            None if free || OFTEN_ABSENT.contains(&name.as_str()) => &Val::Null,
                            None => {
                                let path: String = names[..=i].iter().map(|n| format!(".{n}")).collect();
                                return Err(format!(
                                    ":1:2: executing \"\" at <{path}>: map has no entry for key {name:?}"
                                ));
                            }
                        },
                        Val::Null if i > 0 => {
                            let path: String = names[..=i].iter().map(|n| format!(".{n}")).collect();
                            return Err(format!(
                                ":1:2: executing \"\" at <{path}>: nil pointer evaluating {}",
                                names[i - 1]
                            ));
                        }
                        other => {
                            return Err(format!(
                                ":1:2: executing \"\" at <.{name}>: can't evaluate field {name} in type {}",
                                functions::type_name(other)
                            ));
                        }
                    };
                    free = FREE_MAPS.contains(&name.as_str());
                }
                Ok(value.clone())
            }
        }
    }
}
