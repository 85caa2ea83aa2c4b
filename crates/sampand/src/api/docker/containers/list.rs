//! `GET /containers/json`

use crate::api::docker::call::Call;
use crate::api::docker::filter::{self, Pattern};
use crate::api::docker::reply::{self, Reply};
use crate::api::docker::show;
use crate::api::docker::spec::parse_exposed;
use engine::model::{ContainerRecord, Phase};
use oci::{Error, Result, Timestamp};
use std::sync::Arc;
use wire::docker::Filters;
use wire::docker::container::Summary;

const FILTERS: &[&str] = &[
    "ancestor", "before", "exited", "expose", "id", "label", "name", "network", "publish", "since", "status", "volume",
];
const STATES: &[&str] = &["created", "running", "paused", "restarting", "removing", "exited", "dead"];

/// Lists containers, the newest first.
pub async fn list(call: Call) -> Result<Reply> {
    let filters = call.query.filters(FILTERS)?;
    let limit = call.query.value::<i64>("limit")?.and_then(|n| usize::try_from(n).ok()).filter(|n| *n > 0);
    let all = call.query.flag("all") || limit.is_some() || filters.0.contains_key("status");
    let shown = chosen(&call, &filters, all)?;
    let records = shown.into_iter().take(limit.unwrap_or(usize::MAX)).collect();
    Ok(reply::json(&summaries(&call, records, call.query.flag("size")).await?))
}

/// All containers, with their sizes.
pub async fn every(call: &Call) -> Result<Vec<Summary>> {
    summaries(call, call.engine().containers().list(), true).await
}

async fn summaries(call: &Call, records: Vec<Arc<ContainerRecord>>, sizes: bool) -> Result<Vec<Summary>> {
    let containers = call.engine().containers();
    let now = Timestamp::now();
    let mut list = Vec::with_capacity(records.len());
    for record in records {
        // One that goes away meanwhile has no size any more.
        let size = if sizes { containers.size(&record.id).await.ok() } else { None };
        list.push(show::summary(&record, size, now));
    }
    Ok(list)
}

fn chosen(call: &Call, filters: &Filters, all: bool) -> Result<Vec<Arc<ContainerRecord>>> {
    let containers = call.engine().containers();
    let created = |name: &str| -> Result<Vec<(Timestamp, String)>> {
        filter::values(filters, name)
            .iter()
            .map(|id| containers.get(id).map(|record| (record.created, record.id.clone())))
            .collect()
    };
    let (before, since) = (created("before")?, created("since")?);
    let names = patterns(filters, "name")?;
    let ids = patterns(filters, "id")?;
    let exited = filter::values(filters, "exited")
        .iter()
        .map(|code| code.parse::<i32>().map_err(|_| Error::invalid(format!("invalid filter 'exited={code}'"))))
        .collect::<Result<Vec<_>>>()?;
    if let Some(bad) = filter::values(filters, "status").iter().find(|s| !STATES.contains(&s.as_str())) {
        return Err(Error::invalid(format!("invalid filter 'status={bad}'")));
    }
    let (publish, expose) = (ports(filters, "publish")?, ports(filters, "expose")?);
    let takes = |record: &ContainerRecord| {
        let alive = record.phase.is_running() || record.phase == Phase::Restarting;
        (all || alive)
            && filter::any(filters, "status", |status| status == record.phase.word())
            && (exited.is_empty() || (!alive && !record.finished_at.is_zero() && exited.contains(&record.exit_code)))
            && filter::labels(filters, &record.process.labels)
            && (ids.is_empty() || ids.iter().any(|p| p.matches(&record.id)))
            && (names.is_empty()
                || names.iter().any(|p| p.matches(&record.name) || p.matches(&format!("/{}", record.name))))
            && filter::any(filters, "ancestor", |wanted| {
                let image = &record.image;
                filter::ancestor(wanted, &image.given, image.reference.as_ref(), image.id.as_str())
            })
            && filter::any(filters, "volume", |wanted| {
                record.mounts.iter().any(|m| m.name == wanted || m.target == wanted || m.source == wanted)
            })
            && filter::any(filters, "network", |wanted| {
                show::endpoints(record).iter().any(|(name, endpoint)| {
                    name == wanted || (wanted.len() >= 4 && endpoint.network_id.starts_with(wanted))
                })
            })
            && (publish.is_empty()
                || record.ports.iter().any(|p| publish.contains(&format!("{}/{}", p.host_port, p.protocol))))
            && (expose.is_empty() || record.process.exposed_ports.iter().any(|port| expose.contains(port)))
            && before.iter().all(|(time, id)| record.created < *time && record.id != *id)
            && since.iter().all(|(time, id)| record.created > *time && record.id != *id)
    };
    Ok(containers.list().into_iter().filter(|record| takes(record)).collect())
}

fn patterns(filters: &Filters, name: &str) -> Result<Vec<Pattern>> {
    filter::values(filters, name).iter().map(|text| Pattern::new(text)).collect()
}

fn ports(filters: &Filters, name: &str) -> Result<Vec<String>> {
    let mut ports = Vec::new();
    for text in filter::values(filters, name) {
        ports.extend(parse_exposed(text)?);
    }
    Ok(ports)
}
