//! `logout`: forgets a registry's credentials.

use super::login::domain;
use crate::args::{Arity, Flags, verb};
use crate::config::ConfigFile;
use crate::failure::Result;
use crate::{Context, output};
use clap::{Arg, ArgMatches};

verb!("logout", "[SERVER]", "Log out from a registry", Arity::AtMost(1));

fn flags() -> Vec<Arg> {
    Vec::new()
}

async fn run(cx: &Context, m: &ArgMatches) -> Result<i32> {
    let domain = domain(m.arguments().first());
    let directory = cx.config.path().parent().and_then(|p| p.to_str()).map(str::to_owned);
    let mut config = ConfigFile::load(directory.as_deref())?;
    let shown = if domain == "docker.io" { crate::config::HUB } else { &domain };
    config.erase(&domain).await?;
    output::line(&format!("Removing login credentials for {shown}"));
    Ok(0)
}
