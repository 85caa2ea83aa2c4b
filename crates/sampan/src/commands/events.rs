//! `events`: what happens, as it happens.

use super::shared;
use crate::Context;
use crate::args::{Arity, Flags, filter_flag, value, verb};
use crate::client::{Call, Query};
use crate::failure::{Failure, Result};
use crate::format::time;
use crate::output;
use crate::template::Template;
use crate::value;
use clap::{Arg, ArgMatches};
use wire::docker::event::Event;

verb!("events", "[OPTIONS]", "Get real time events from the server", Arity::None);

fn flags() -> Vec<Arg> {
    vec![
        filter_flag(),
        value(None, "format", "string", "Format output using a Go template, or 'json'"),
        value(None, "since", "string", "Show all events created since timestamp"),
        value(None, "until", "string", "Stream events until this timestamp"),
    ]
}

async fn run(cx: &Context, m: &ArgMatches) -> Result<i32> {
    let moment = |flag: &str| match m.text(flag) {
        "" => Ok(String::new()),
        text => time::moment(text).map_err(Failure::new),
    };
    let template = match m.text("format") {
        "" => None,
        "json" => Some(Template::parse("{{json .}}")?),
        text => Some(Template::parse(text)?),
    };
    let query = Query::new()
        .text("since", &moment("since")?)
        .text("until", &moment("until")?)
        .text("filters", &shared::filters(&m.texts("filter"))?);
    let mut events = cx.client.follow(Call::get("/events").query(query)).await?;
    while let Some(event) = events.next::<Event>().await? {
        match &template {
            Some(template) => output::line(&template.render(&value::of(&event))?),
            None => output::line(&text(&event)),
        }
    }
    Ok(0)
}

fn text(event: &Event) -> String {
    let nanos = if event.time_nano != 0 { event.time_nano } else { event.time.saturating_mul(1_000_000_000) };
    let mut line = format!("{} {} {} {}", time::rfc3339_nanos(nanos), event.kind, event.action, event.actor.id);
    if !event.actor.attributes.is_empty() {
        let attributes: Vec<String> = event.actor.attributes.iter().map(|(k, v)| format!("{k}={v}")).collect();
        line.push_str(&format!(" ({})", attributes.join(", ")));
    }
    line
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line() {
        let event: Event = serde_json::from_str(
            r#"{"Type":"container","Action":"create","Actor":{"ID":"abc","Attributes":{"name":"n","image":"i"}},"timeNano":1}"#,
        )
        .unwrap();
        assert_eq!(text(&event), "1970-01-01T00:00:00.000000001Z container create abc (image=i, name=n)");
    }
}
