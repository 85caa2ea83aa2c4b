//! `GET /events`

use crate::api::docker::call::Call;
use crate::api::docker::filter;
use crate::api::docker::reply::{self, Mode, Reply};
use engine::events::{Event, Subject};
use oci::{Error, Result, Timestamp};
use std::sync::Arc;
use tokio::sync::broadcast::error::RecvError;
use wire::docker::Filters;
use wire::docker::event::{Actor, Event as Shown};

const FILTERS: &[&str] = &[
    "config",
    "container",
    "daemon",
    "event",
    "image",
    "label",
    "label!",
    "network",
    "node",
    "plugin",
    "scope",
    "secret",
    "service",
    "type",
    "volume",
];

/// Streams events, from `since` and up to `until`.
pub async fn events(call: Call) -> Result<Reply> {
    let filters = call.query.filters(FILTERS)?;
    let since = filter::moment(call.query.get("since").unwrap_or_default())?;
    let until = filter::moment(call.query.get("until").unwrap_or_default())?;
    if let (Some(since), Some(until)) = (since, until)
        && since > until
    {
        return Err(Error::invalid("`since` time cannot be after `until` time"));
    }
    let namespace = call.engine().name().to_owned();
    let (past, mut coming) = call.engine().engine().events().subscribe(since);
    reply::stream("application/json", Mode::Live, move |sender| async move {
        let takes = |event: &Event| {
            event.namespace == namespace
                && until.is_none_or(|until| before(event.time, until))
                && matches(&filters, event)
        };
        for event in past.iter().filter(|event| takes(event)) {
            sender.json(&shown(event)).await?;
        }
        let end = async {
            match until {
                Some(until) => tokio::time::sleep(until.since(Timestamp::now())).await,
                None => std::future::pending().await,
            }
        };
        tokio::pin!(end);
        loop {
            let event: Arc<Event> = tokio::select! {
                () = &mut end => return Ok(()),
                event = coming.recv() => match event {
                    Ok(event) => event,
                    // A reader this slow gets on with what is there, as dockerd's do.
                    Err(RecvError::Lagged(_)) => continue,
                    Err(RecvError::Closed) => return Ok(()),
                },
            };
            if takes(&event) {
                sender.json(&shown(&event)).await?;
            }
        }
    })
    .await
}

/// Whether `time` is not after `until`. Clients round "now" down to whole seconds: such a second counts whole.
fn before(time: Timestamp, until: Timestamp) -> bool {
    time <= until || (until.subsec_nanos() == 0 && time.seconds() == until.seconds())
}

fn matches(filters: &Filters, event: &Event) -> bool {
    let attribute = |name: &str| event.attributes.get(name).map(String::as_str).unwrap_or_default();
    // An object is meant by its id, the beginning of one, or its name.
    let named = |subject: Subject, wanted: &str| {
        event.subject == subject
            && (event.id == wanted
                || attribute("name") == wanted
                || (wanted.len() >= 4 && event.id.starts_with(wanted)))
    };
    let image = |wanted: &str| {
        let bare = |name: &str| name.rsplit_once(':').map_or(name.to_owned(), |(repository, _)| repository.to_owned());
        let name = match event.subject {
            Subject::Image => &event.id,
            _ => attribute("image"),
        };
        named(Subject::Image, wanted) || name == wanted || bare(name) == wanted
    };
    // These have no events here.
    let absent = ["config", "daemon", "node", "plugin", "secret", "service"];
    absent.iter().all(|name| filter::any(filters, name, |_| false))
        && filter::any(filters, "type", |kind| kind == event.subject.word())
        && filter::any(filters, "scope", |scope| scope == "local")
        && filter::any(filters, "event", |action| {
            action == event.action || event.action.split(':').next() == Some(action)
        })
        && filter::any(filters, "container", |wanted| named(Subject::Container, wanted))
        && filter::any(filters, "image", image)
        && filter::any(filters, "volume", |wanted| named(Subject::Volume, wanted))
        && filter::any(filters, "network", |wanted| named(Subject::Network, wanted))
        && filter::labels(filters, &event.attributes)
}

fn shown(event: &Event) -> Shown {
    // The form before API 1.22 lives on for these two.
    let old = matches!(event.subject, Subject::Container | Subject::Image);
    Shown {
        status: if old { event.action.clone() } else { String::new() },
        id: if old { event.id.clone() } else { String::new() },
        from: match event.subject {
            Subject::Container => event.attributes.get("image").cloned().unwrap_or_default(),
            _ => String::new(),
        },
        kind: event.subject.word().into(),
        action: event.action.clone(),
        actor: Actor { id: event.id.clone(), attributes: event.attributes.clone() },
        scope: "local".into(),
        time: event.time.seconds(),
        time_nano: event.time.unix_nanos(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeMap;

    fn event() -> Event {
        Event {
            namespace: "moby".into(),
            subject: Subject::Container,
            action: "exec_start: sh -c x".into(),
            id: "abcdef0123".into(),
            attributes: BTreeMap::from([
                ("image".into(), "busybox:1".into()),
                ("name".into(), "web".into()),
                ("k".into(), "v".into()),
            ]),
            time: Timestamp::from_unix(7, 5),
        }
    }

    #[test]
    fn filters() {
        let takes = |json: &str| matches(&serde_json::from_str(json).unwrap(), &event());
        for json in [
            "{}",
            r#"{"container":["web"]}"#,
            r#"{"container":["abcd"]}"#,
            r#"{"type":["image","container"]}"#,
            r#"{"event":["exec_start"]}"#,
            r#"{"image":["busybox"]}"#,
            r#"{"label":["k=v"]}"#,
        ] {
            assert!(takes(json), "{json}");
        }
        for json in [
            r#"{"container":["we"]}"#,
            r#"{"type":["image"]}"#,
            r#"{"event":["start"]}"#,
            r#"{"daemon":["x"]}"#,
            r#"{"label":["k=w"]}"#,
            r#"{"network":["web"]}"#,
            r#"{"scope":["swarm"]}"#,
        ] {
            assert!(!takes(json), "{json}");
        }
    }

    #[test]
    fn the_last_second_counts_whole() {
        let at = Timestamp::from_unix;
        assert!(before(at(7, 5), at(7, 0)) && before(at(6, 9), at(7, 0)) && before(at(7, 5), at(7, 5)));
        assert!(!before(at(8, 0), at(7, 0)) && !before(at(7, 6), at(7, 5)));
    }

    #[test]
    fn events_have_docker_s_shape() {
        let shown = serde_json::to_value(shown(&event())).unwrap();
        assert_eq!(shown["status"], shown["Action"]);
        assert_eq!(shown["from"], "busybox:1");
        assert_eq!((shown["time"].as_i64(), shown["timeNano"].as_i64()), (Some(7), Some(7_000_000_005)));
        assert_eq!(shown["Actor"]["Attributes"]["name"], "web");
    }
}
