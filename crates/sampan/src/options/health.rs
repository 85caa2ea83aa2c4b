//! `--health-*`.

use crate::args::{Flags, bad_flag};
use crate::failure::{Failure, Result};
use crate::format::units::parse_duration;
use clap::ArgMatches;
use wire::docker::config::Healthcheck;

pub(super) fn check(m: &ArgMatches) -> Result<Option<Healthcheck>> {
    let duration = |name: &str| match m.given(name) {
        None => Ok(0),
        Some(text) => match parse_duration(text) {
            Ok(nanos) if nanos < 0 => Err(Failure::new(format!("--{name} cannot be negative")).with_code(125)),
            Ok(nanos) => Ok(nanos),
            Err(why) => Err(bad_flag(name, text, &why)),
        },
    };
    let command = m.text("health-cmd");
    let check = Healthcheck {
        test: (!command.is_empty()).then(|| vec!["CMD-SHELL".to_owned(), command.to_owned()]),
        interval: duration("health-interval")?,
        timeout: duration("health-timeout")?,
        start_period: duration("health-start-period")?,
        start_interval: duration("health-start-interval")?,
        retries: m.integer("health-retries")?.unwrap_or(0),
    };
    if check.retries < 0 {
        return Err(Failure::new("--health-retries cannot be negative").with_code(125));
    }
    let given = check != Healthcheck::default();
    if !m.on("no-healthcheck") {
        return Ok(given.then_some(check));
    }
    if given {
        return Err(Failure::new("--no-healthcheck conflicts with --health-* options").with_code(125));
    }
    Ok(Some(Healthcheck { test: Some(vec!["NONE".into()]), ..Healthcheck::default() }))
}
