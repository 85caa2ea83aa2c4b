//! Progress for everybody who waits for the same thing.

use super::progress::{LayerState, Progress, ProgressSink};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// Steps of one layer that only count bytes are told no more often than this.
const PACE: Duration = Duration::from_millis(100);

/// Hands each step to all who listen, and tells late-comers how things stand.
#[derive(Default)]
pub(super) struct Hub {
    state: Mutex<State>,
    loading: bool,
}

#[derive(Default)]
struct State {
    /// Steps about no layer, in order.
    lines: Vec<Progress>,
    /// The latest step of each layer, in the order of their first.
    layers: Vec<(String, LayerState, Instant)>,
    sinks: Vec<(u64, ProgressSink)>,
    next: u64,
}

/// Listens until it is dropped.
pub(super) struct Listening {
    hub: Arc<Hub>,
    number: u64,
}

impl Drop for Listening {
    fn drop(&mut self) {
        self.hub.lock().sinks.retain(|(number, _)| *number != self.number);
    }
}

impl Hub {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// One that tells of layers in the words of `docker load`.
    pub(super) fn loading() -> Self {
        Self { loading: true, ..Self::default() }
    }

    /// Tells `sink` what has happened so far, and then everything that happens.
    pub(super) fn listen(self: &Arc<Self>, sink: ProgressSink) -> Listening {
        let mut state = self.lock();
        for line in &state.lines {
            sink(line.clone());
        }
        for (id, layer, _) in &state.layers {
            sink(Progress::Layer { id: id.clone(), state: *layer });
        }
        let number = state.next;
        state.next += 1;
        state.sinks.push((number, sink));
        Listening { hub: self.clone(), number }
    }

    /// Something happened.
    pub(super) fn tell(&self, step: Progress) {
        let mut state = self.lock();
        match &step {
            Progress::Layer { id, state: now } => {
                if !state.note(id, *now) {
                    return;
                }
            }
            other => state.lines.push(other.clone()),
        }
        for (_, sink) in &state.sinks {
            sink(step.clone());
        }
    }

    /// A layer's step.
    pub(super) fn layer(&self, id: &str, state: LayerState) {
        let state = match state {
            LayerState::Extracting(n, of) if self.loading => LayerState::Loading(n, of),
            _ if self.loading => return,
            other => other,
        };
        self.tell(Progress::Layer { id: id.into(), state });
    }
}

impl State {
    /// Keeps the step; whether it is worth telling now.
    fn note(&mut self, id: &str, now: LayerState) -> bool {
        let Some((_, before, told)) = self.layers.iter_mut().find(|(known, ..)| known == id) else {
            self.layers.push((id.into(), now, Instant::now()));
            return true;
        };
        let same_kind = std::mem::discriminant(before) == std::mem::discriminant(&now);
        let last = match now {
            LayerState::Downloading(n, of)
            | LayerState::Extracting(n, of)
            | LayerState::Pushing(n, of)
            | LayerState::Loading(n, of) => n >= of,
            _ => false,
        };
        if same_kind && *before == now {
            return false;
        }
        *before = now;
        if same_kind && !last && told.elapsed() < PACE {
            return false;
        }
        *told = Instant::now();
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn late_comers_learn_how_things_stand_and_counting_is_paced() {
        let hub: Arc<Hub> = Arc::default();
        let seen: Arc<Mutex<Vec<Progress>>> = Arc::default();
        let sink = |seen: &Arc<Mutex<Vec<Progress>>>| -> ProgressSink {
            let seen = seen.clone();
            Arc::new(move |step| seen.lock().unwrap().push(step))
        };
        let first = hub.listen(sink(&seen));
        hub.layer("a", LayerState::PullingFsLayer);
        for n in 0..1000 {
            hub.layer("a", LayerState::Downloading(n, 1000));
        }
        hub.layer("a", LayerState::Downloading(1000, 1000));
        let told = seen.lock().unwrap().len();
        assert!((3..100).contains(&told), "{told}");
        drop(first);
        hub.layer("a", LayerState::PullComplete);
        assert_eq!(seen.lock().unwrap().len(), told);
        let late: Arc<Mutex<Vec<Progress>>> = Arc::default();
        let _second = hub.listen(sink(&late));
        assert_eq!(*late.lock().unwrap(), [Progress::Layer { id: "a".into(), state: LayerState::PullComplete }]);
    }
}
