//! `list`: all containers under the state root.

use oci::{Error, Result};

use super::Command;
use super::state::{View, view};
use crate::cli::{Args, Failure, Flag, Global, switch, value};
use crate::state::Container;

static FLAGS: [Flag; 2] = [
    value(&["format", "f"], "select one of: table or json (default: \"table\")"),
    switch(&["quiet", "q"], "display only container IDs"),
];

pub(super) static COMMAND: Command = Command {
    name: "list",
    about: "lists containers started by sampan-runtime with the given root",
    usage: "",
    flags: &FLAGS,
    command_after: None,
    makes: false,
    run,
};

fn run(global: &Global, args: &Args) -> Result<i32, Failure> {
    if !args.positional.is_empty() {
        return Err(Error::invalid("\"list\" requires exactly 0 argument(s)").into());
    }
    let mut views: Vec<View> = Vec::new();
    for id in Container::ids(&global.root)? {
        // Deleted since the directory was read.
        let Ok(container) = Container::open(&global.root, &id) else { continue };
        views.push(view(&container, crate::state::directory_owner(&global.root, &id)));
    }
    if args.on("quiet") {
        views.iter().for_each(|v| println!("{}", v.id));
        return Ok(0);
    }
    match args.get("format") {
        Some("json") => {
            // Go prints an empty list as null.
            let text = if views.is_empty() { Ok("null".into()) } else { serde_json::to_string(&views) };
            println!("{}", text.map_err(|e| Error::internal(e.to_string()))?);
        }
        None | Some("table") => table(&views),
        Some(other) => return Err(Error::invalid(format!("invalid format option: {other:?}")).into()),
    }
    Ok(0)
}

fn table(views: &[View]) {
    let header = ["ID", "PID", "STATUS", "BUNDLE", "CREATED", "OWNER"].map(String::from);
    let rows = views.iter().map(|v| {
        [
            v.id.clone(),
            v.pid.to_string(),
            v.status.into(),
            v.bundle.display().to_string(),
            v.created.to_string(),
            v.owner.clone(),
        ]
    });
    super::ps::print_columns(std::iter::once(header).chain(rows).collect::<Vec<_>>().as_slice(), 12, 3);
}
