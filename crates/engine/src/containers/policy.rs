//! When a container is started again: pure decisions.

use crate::model::RestartPolicy;
use std::time::Duration;

const FIRST_DELAY: Duration = Duration::from_millis(100);
const LONGEST_DELAY: Duration = Duration::from_secs(60);
/// A run at least this long starts the delays over.
const GOOD_RUN: Duration = Duration::from_secs(10);

/// What a run's end means.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Ended {
    /// Exit code.
    pub(crate) code: i32,
    /// Stopped or killed by hand.
    pub(crate) by_hand: bool,
    /// Starts by policy so far.
    pub(crate) restarts: u32,
}

/// Whether the policy wants another start.
pub(crate) fn wants_restart(policy: RestartPolicy, ended: Ended) -> bool {
    if ended.by_hand {
        return false;
    }
    match policy {
        RestartPolicy::No => false,
        RestartPolicy::OnFailure { max } => ended.code != 0 && (max == 0 || ended.restarts < max),
        RestartPolicy::Always | RestartPolicy::UnlessStopped => true,
    }
}

/// Whether a container that is found not running when the daemon starts is to be started: `always` forgets that it was
/// stopped by hand, `unless-stopped` does not.
pub(crate) fn wants_start_with_daemon(policy: RestartPolicy, ended: Ended) -> bool {
    match policy {
        RestartPolicy::Always => true,
        _ => wants_restart(policy, ended),
    }
}

/// The delay before the next start, given the last delay and how long the last run was.
pub(crate) fn next_delay(last: Option<Duration>, run: Duration) -> Duration {
    match last {
        Some(last) if run < GOOD_RUN => (last * 2).min(LONGEST_DELAY),
        _ => FIRST_DELAY,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const CLEAN: Ended = Ended { code: 0, by_hand: false, restarts: 0 };

    #[test]
    fn policies() {
        let failed = Ended { code: 1, ..CLEAN };
        assert!(!wants_restart(RestartPolicy::No, failed));
        assert!(!wants_restart(RestartPolicy::OnFailure { max: 0 }, CLEAN));
        assert!(wants_restart(RestartPolicy::OnFailure { max: 2 }, Ended { restarts: 1, ..failed }));
        assert!(!wants_restart(RestartPolicy::OnFailure { max: 2 }, Ended { restarts: 2, ..failed }));
        assert!(wants_restart(RestartPolicy::Always, CLEAN));
        let stopped = Ended { by_hand: true, ..failed };
        assert!(!wants_restart(RestartPolicy::Always, stopped));
        assert!(wants_start_with_daemon(RestartPolicy::Always, stopped));
        assert!(!wants_start_with_daemon(RestartPolicy::UnlessStopped, stopped));
    }

    proptest! {
        #[test]
        fn delays_grow_within_bounds(last in 0u64..100_000, run in 0u64..100) {
            let delay = next_delay(Some(Duration::from_millis(last)), Duration::from_secs(run));
            prop_assert!(delay <= LONGEST_DELAY);
            if run >= 10 {
                prop_assert_eq!(delay, FIRST_DELAY);
            }
        }
    }
}
