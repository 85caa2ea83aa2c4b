//! `volume create`.

use crate::args::{Arity, Flags, list, value, verb};
use crate::client::Call;
use crate::failure::{Failure, Result};
use crate::options::{env, pairs_map};
use crate::{Context, output};
use clap::{Arg, ArgMatches};
use wire::docker::volume::{CreateRequest, Volume};

verb!("create", "[OPTIONS] [VOLUME]", "Create a volume", Arity::AtMost(1));

fn flags() -> Vec<Arg> {
    vec![
        value(Some('d'), "driver", "string", "Specify volume driver name (default \"local\")"),
        list(None, "label", "list", "Set metadata for a volume"),
        value(None, "name", "string", "Specify volume name").hide(true),
        list(Some('o'), "opt", "map", "Set driver specific options"),
    ]
}

async fn run(cx: &Context, m: &ArgMatches) -> Result<i32> {
    let argument = m.arguments().into_iter().next();
    if argument.is_some() && m.given("name").is_some() {
        return Err(Failure::new(
            "conflicting options: cannot specify a volume-name through both --name and as a positional arg",
        ));
    }
    let body = CreateRequest {
        name: argument.unwrap_or_else(|| m.text("name").to_owned()),
        driver: m.given("driver").unwrap_or("local").to_owned(),
        driver_opts: Some(pairs_map(&m.texts("opt"))),
        labels: Some(pairs_map(&env::gather(&[], &m.texts("label"), env::Kind::Label)?)),
        cluster_volume_spec: None,
    };
    let volume: Volume = cx.client.ask(Call::post("/volumes/create").json(&body)?).await?;
    output::line(&volume.name);
    Ok(0)
}
