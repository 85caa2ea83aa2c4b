//! `POST /containers/{id}/wait`

use crate::api::docker::call::Call;
use crate::api::docker::reply::{self, Mode, Reply};
use engine::model::Condition;
use oci::{Error, Result};
use wire::docker::container::{WaitError, WaitResponse};

/// Waits for a container. The head of the answer goes out at once: clients start the container when they have it.
pub async fn wait(call: Call) -> Result<Reply> {
    let condition = match call.query.get("condition") {
        None | Some("not-running") => Condition::NotRunning,
        Some("next-exit") => Condition::NextExit,
        Some("removed") => Condition::Removed,
        Some(other) => return Err(Error::invalid(format!("invalid condition: {other:?}"))),
    };
    let exit = call.engine().containers().wait(call.param("id"), condition)?;
    reply::stream("application/json", Mode::Live, |sender| async move {
        let answer = match exit.await {
            Ok(exit) => WaitResponse {
                // Whoever waits for the removal learns of a start that failed from the start's own answer.
                error: (condition != Condition::Removed && !exit.error.is_empty())
                    .then_some(WaitError { message: exit.error }),
                status_code: i64::from(exit.code),
            },
            Err(error) => WaitResponse { error: Some(WaitError { message: error.to_string() }), status_code: -1 },
        };
        Ok(sender.json(&answer).await?)
    })
    .await
}
