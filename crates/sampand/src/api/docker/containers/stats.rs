//! `GET /containers/{id}/stats`

use crate::api::docker::call::Call;
use crate::api::docker::reply::{self, Mode, Reply};
use crate::api::docker::show;
use engine::model::Stats;
use oci::{Kind, Result};
use std::time::Duration;
use tokio::time::{Instant, MissedTickBehavior, interval_at};

/// How often a stream has a sample, and how far the two samples of a single answer lie apart.
const PERIOD: Duration = Duration::from_secs(1);

/// Samples of a container's resource use: one, or one a second until the client leaves or the container is gone.
pub async fn stats(call: Call) -> Result<Reply> {
    let containers = call.engine().containers();
    let record = containers.get(call.param("id"))?;
    let sample = async |id: &str| -> Result<Option<Stats>> {
        match call.engine().containers().stats(id).await {
            Ok(stats) => Ok(Some(stats)),
            // It doesn't run: Docker shows zeros then.
            Err(error) if error.kind() == Kind::Conflict => Ok(None),
            Err(error) => Err(error),
        }
    };
    let mut before = sample(&record.id).await?;
    if !call.query.flag_or("stream", true) {
        if call.query.flag("one-shot") || before.is_none() {
            return Ok(reply::json(&show::stats(&record, before.as_ref(), None)));
        }
        tokio::time::sleep(PERIOD).await;
        let now = sample(&record.id).await?;
        return Ok(reply::json(&show::stats(&record, now.as_ref(), before.as_ref())));
    }
    let engine = call.engine().clone();
    reply::stream("application/json", Mode::Live, |sender| async move {
        sender.json(&show::stats(&record, before.as_ref(), None)).await?;
        let mut ticks = interval_at(Instant::now() + PERIOD, PERIOD);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            ticks.tick().await;
            let now = match engine.containers().stats(&record.id).await {
                Ok(stats) => Some(stats),
                Err(error) if error.kind() == Kind::Conflict => None,
                Err(_) => return Ok(()),
            };
            sender.json(&show::stats(&record, now.as_ref(), before.as_ref())).await?;
            before = now;
        }
    })
    .await
}
