//! `export`: a container's files as a tar archive.

use super::shared;
use crate::Context;
use crate::args::{Arity, Flags, value, verb};
use crate::client::Call;
use crate::failure::Result;
use crate::transfer;
use clap::{Arg, ArgMatches};

verb!("export", "[OPTIONS] CONTAINER", "Export a container's filesystem as a tar archive", Arity::Exactly(1));

fn flags() -> Vec<Arg> {
    vec![value(Some('o'), "output", "string", "Write to a file, instead of STDOUT")]
}

async fn run(cx: &Context, m: &ArgMatches) -> Result<i32> {
    let target = transfer::Target::choose(m.text("output"), "export")?;
    let download = cx.client.download(Call::get(shared::container(&m.arguments()[0], "export"))).await?;
    transfer::receive(download, target).await?;
    Ok(0)
}
