//! `list`: all containers under the state root.

use oci::{Context, Error, Result};

use super::Command;
use super::state::{View, view};
use crate::cli::{Args, Count, Failure, Flag, Global, switch, value};
use crate::state::Container;

static FLAGS: [Flag; 2] =
    [value(&["format", "f"], "table or json (default: \"table\")"), switch(&["quiet", "q"], "print ids only")];

pub(super) static COMMAND: Command = Command {
    name: "list",
    about: "list the containers below the state root",
    usage: "",
    flags: &FLAGS,
    arguments: Count::Exactly(0),
    command_after: None,
    makes: false,
    run,
};

fn run(global: &Global, args: &Args) -> Result<i32, Failure> {
    let mut views: Vec<View> = Vec::new();
    // Without one nothing was created yet; but one that was named, and is not there, is a mistake.
    if global.root_given {
        std::fs::read_dir(&global.root).context(|| format!("open {}", global.root.display()))?;
    }
    for id in Container::ids(&global.root)? {
        // Deleted since the directory was read.
        let Ok(container) = Container::open(&global.root, &id) else { continue };
        views.push(view(&container, crate::state::directory_owner(&global.root, &id)));
    }
    if args.on("quiet") {
        views.iter().for_each(|v| say!("{}", v.id));
        return Ok(0);
    }
    match args.get("format") {
        Some("json") => {
            // Go prints an empty list as null.
            let text = if views.is_empty() { Ok("null".into()) } else { serde_json::to_string(&views) };
            say!("{}", text.map_err(|e| Error::internal(e.to_string()))?);
        }
        None | Some("table") => table(&views),
        Some(_) => return Err(Error::invalid("invalid format option").into()),
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
    print_columns(std::iter::once(header).chain(rows).collect::<Vec<_>>().as_slice(), 12, 3);
}

/// Prints rows with columns at least `minimum` wide and `gap` apart, as Go's tabwriter does.
fn print_columns<const N: usize>(rows: &[[String; N]], minimum: usize, gap: usize) {
    let mut widths = [minimum; N];
    for row in rows {
        for (width, cell) in widths.iter_mut().zip(row) {
            *width = (*width).max(cell.chars().count() + gap);
        }
    }
    for row in rows {
        let mut line = String::new();
        for (i, (cell, width)) in row.iter().zip(widths).enumerate() {
            line += cell;
            if i + 1 < N {
                line.extend(std::iter::repeat_n(' ', width - cell.chars().count()));
            }
        }
        say!("{line}");
    }
}
