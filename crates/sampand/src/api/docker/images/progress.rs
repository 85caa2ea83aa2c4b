//! Progress on its way to the client: steps about a layer replace each other while they wait, so that neither a slow
//! client nor a fast layer fills anything.

use crate::api::docker::reply::{Gone, Sender};
use engine::images::{Progress, ProgressSink};
use oci::Result;
use serde_json::json;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use wire::docker::progress::Message;

/// How often what has gathered is sent: faster than people see.
const PERIOD: Duration = Duration::from_millis(50);

#[derive(Default)]
struct Feed(Mutex<Vec<Progress>>);

impl Feed {
    fn push(&self, step: Progress) {
        let mut waiting = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Progress::Layer { id, state } = &step
            && let Some(Progress::Layer { state: last, .. }) =
                waiting.iter_mut().rev().find(|other| matches!(other, Progress::Layer { id: i, .. } if i == id))
            && std::mem::discriminant(last) == std::mem::discriminant(state)
        {
            *last = *state;
            return;
        }
        waiting.push(step);
    }

    /// Takes what has gathered. The line that an operation begins with waits for the next one: where there is none,
    /// the operation has failed, and its error can still have a status of its own.
    fn take(&self, ended: Option<bool>) -> Vec<Progress> {
        let mut waiting = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let only_begun = matches!(waiting.as_slice(), [Progress::PullingFrom(_) | Progress::PushTo(_)]);
        match (only_begun, ended) {
            (true, None) => Vec::new(),
            (true, Some(false)) => {
                waiting.clear();
                Vec::new()
            }
            _ => std::mem::take(&mut *waiting),
        }
    }

    async fn flush(&self, sender: &Sender, ended: Option<bool>) -> Result<(), Gone> {
        let waiting = self.take(ended);
        for step in waiting {
            for message in messages(&step) {
                sender.json(&message).await?;
            }
        }
        Ok(())
    }
}

/// Carries out `work` while its progress goes to the client.
///
/// # Errors
/// Those of the work, or `Cancelled` if the client leaves.
pub async fn report<T, F>(sender: &Sender, work: impl FnOnce(ProgressSink) -> F) -> Result<T>
where
    F: Future<Output = Result<T>>,
{
    let feed = Arc::new(Feed::default());
    let sink = feed.clone();
    let work = work(Arc::new(move |step| sink.push(step)));
    tokio::pin!(work);
    let mut ticks = tokio::time::interval(PERIOD);
    loop {
        tokio::select! {
            result = &mut work => {
                feed.flush(sender, Some(result.is_ok())).await?;
                return result;
            }
            _ = ticks.tick() => feed.flush(sender, None).await?,
        }
    }
}

/// A sink for work whose progress nobody wants.
pub fn silent() -> ProgressSink {
    Arc::new(|_| ())
}

fn messages(step: &Progress) -> Vec<Message> {
    let layer = matches!(step, Progress::Layer { .. });
    let convert = |message: engine::images::Message| {
        let mut out = Message::default();
        if message.stream {
            out.stream = message.status;
        } else {
            out.status = message.status;
        }
        out.id = message.id.unwrap_or_default();
        if layer {
            out.progress_detail = Some(Default::default());
        }
        if let Some((done, total)) = message.detail {
            out = out.with_bytes(done, total);
        }
        if let Some((tag, digest, size)) = message.pushed {
            out.progress_detail = Some(Default::default());
            out.aux = Some(json!({ "Tag": tag, "Digest": digest, "Size": size }));
        }
        out
    };
    step.messages().into_iter().map(convert).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use engine::images::LayerState;

    #[test]
    fn steps_of_a_layer_replace_each_other_and_keep_their_order() {
        let feed = Feed::default();
        let layer = |id: &str, state| Progress::Layer { id: id.into(), state };
        for n in 0..1000 {
            feed.push(layer("a", LayerState::Downloading(n, 1000)));
            feed.push(layer("b", LayerState::Downloading(n, 1000)));
        }
        feed.push(layer("a", LayerState::DownloadComplete));
        feed.push(layer("a", LayerState::Extracting(1, 2)));
        let waiting = feed.0.lock().unwrap();
        assert_eq!(waiting.len(), 4);
        assert_eq!(waiting[0], layer("a", LayerState::Downloading(999, 1000)));
    }

    #[test]
    fn a_beginning_without_more_is_not_told() {
        let feed = Feed::default();
        let begin = || Progress::PullingFrom("busybox".parse().unwrap());
        feed.push(begin());
        assert!(feed.take(None).is_empty() && feed.take(Some(false)).is_empty() && feed.take(Some(true)).is_empty());
        feed.push(begin());
        assert_eq!(feed.take(Some(true)).len(), 1);
        feed.push(begin());
        feed.push(Progress::Layer { id: "a".into(), state: LayerState::Waiting });
        assert_eq!(feed.take(None).len(), 2);
    }

    #[test]
    fn messages_have_docker_s_shape() {
        let step = Progress::Layer { id: "ab".into(), state: LayerState::Downloading(1, 2) };
        let text = serde_json::to_string(&messages(&step)).unwrap();
        assert_eq!(text, r#"[{"status":"Downloading","progressDetail":{"current":1,"total":2},"id":"ab"}]"#);
        let step = Progress::Layer { id: "ab".into(), state: LayerState::PullComplete };
        let text = serde_json::to_string(&messages(&step)).unwrap();
        assert_eq!(text, r#"[{"status":"Pull complete","progressDetail":{},"id":"ab"}]"#);
    }
}
