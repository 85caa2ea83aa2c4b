//! `network disconnect`.

use super::path;
use crate::Context;
use crate::args::{Arity, Flags, flag, verb};
use crate::client::Call;
use crate::failure::Result;
use clap::{Arg, ArgMatches};
use wire::docker::network::DisconnectRequest;

verb!("disconnect", "[OPTIONS] NETWORK CONTAINER", "Disconnect a container from a network", Arity::Exactly(2));

fn flags() -> Vec<Arg> {
    vec![flag(Some('f'), "force", "Force the container to disconnect from a network")]
}

async fn run(cx: &Context, m: &ArgMatches) -> Result<i32> {
    let words = m.arguments();
    let body = DisconnectRequest { container: words[1].clone(), force: m.on("force") };
    cx.client.tell(Call::post(path(&words[0], "/disconnect")).json(&body)?).await?;
    Ok(0)
}
