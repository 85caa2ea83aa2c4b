//! `top`: the processes of a container.

use super::shared;
use crate::Context;
use crate::args::{Arity, Flags, verb};
use crate::client::{Call, Query};
use crate::failure::Result;
use crate::format::table;
use crate::output;
use clap::{Arg, ArgMatches};
use wire::docker::container::Top;

verb!("top", "CONTAINER [ps OPTIONS]", "Display the running processes of a container", Arity::Command(1));

fn flags() -> Vec<Arg> {
    Vec::new()
}

async fn run(cx: &Context, m: &ArgMatches) -> Result<i32> {
    let words = m.arguments();
    let query = Query::new().text("ps_args", &words[1..].join(" "));
    let top: Top = cx.client.ask(Call::get(shared::container(&words[0], "top")).query(query)).await?;
    let mut text = top.titles.join("\t") + "\n";
    for process in &top.processes {
        // A command may hold anything.
        let cells: Vec<String> = process.iter().map(|cell| cell.replace(['\t', '\n'], " ")).collect();
        text.push_str(&cells.join("\t"));
        text.push('\n');
    }
    output::print(&table::align(&text, 20, 3));
    Ok(0)
}
