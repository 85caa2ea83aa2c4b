//! `state`: prints a container's state as JSON.

use std::collections::BTreeMap;
use std::path::PathBuf;

use oci::{Error, Result, Timestamp};
use serde::Serialize;

use super::Command;
use crate::cli::{Args, Count, Failure, Global};
use crate::state::{Container, Status};

pub(super) static COMMAND: Command = Command {
    name: "state",
    about: "output the state of a container",
    usage: "<container-id>",
    flags: &[],
    arguments: Count::Exactly(1),
    command_after: None,
    makes: false,
    run,
};

/// runc's form: the specification's fields and a few more.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct View {
    oci_version: String,
    pub(super) id: String,
    pub(super) pid: i32,
    pub(super) status: &'static str,
    pub(super) bundle: PathBuf,
    rootfs: PathBuf,
    pub(super) created: Timestamp,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    annotations: BTreeMap<String, String>,
    pub(super) owner: String,
}

/// What is shown of a container now.
pub(super) fn view(container: &Container, owner: u32) -> View {
    let status = container.status();
    let pid = if status == Status::Stopped { 0 } else { container.pid().unwrap_or(0) };
    let owner = container.record.as_ref().map_or(owner, |r| r.owner);
    match &container.record {
        Some(r) => View {
            oci_version: r.oci_version.clone(),
            id: r.id.clone(),
            pid,
            status: status.word(),
            bundle: r.bundle.clone(),
            rootfs: r.rootfs.clone(),
            created: r.created,
            annotations: r.annotations.clone(),
            owner: user_name(owner),
        },
        None => View {
            oci_version: oci::runtime::VERSION.into(),
            id: container.id.clone(),
            pid,
            status: status.word(),
            bundle: PathBuf::new(),
            rootfs: PathBuf::new(),
            created: Timestamp::default(),
            annotations: BTreeMap::new(),
            owner: user_name(owner),
        },
    }
}

/// A user's name from the host's `/etc/passwd`; a static program asks nobody else.
pub(crate) fn user_name(uid: u32) -> String {
    if uid == 0 {
        return "root".into();
    }
    let passwd = std::fs::read_to_string("/etc/passwd").unwrap_or_default();
    let name = passwd.lines().find_map(|line| {
        let mut fields = line.split(':');
        let name = fields.next()?;
        (fields.nth(1)?.parse() == Ok(uid)).then(|| name.to_owned())
    });
    name.unwrap_or_else(|| format!("#{uid}"))
}

fn run(global: &Global, args: &Args) -> Result<i32, Failure> {
    let id = args.id("state")?;
    let container = Container::open(&global.root, id)?;
    let owner = crate::state::directory_owner(&global.root, id);
    // Only `list` looks the owner's name up.
    let shown = View { owner: String::new(), ..view(&container, owner) };
    let text = serde_json::to_string_pretty(&shown).map_err(|e| Error::internal(e.to_string()))?;
    say!("{text}");
    Ok(0)
}
