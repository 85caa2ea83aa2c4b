//! When to try again.

use crate::config::Timeouts;
use crate::errors::Failure;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// The longest pause that a `Retry-After` can ask for.
const LONGEST: Duration = Duration::from_secs(60);
/// Failures after which even a transfer that makes progress is given up.
const TOTAL: u32 = 64;

/// Counts failures and says how long to pause.
#[derive(Debug)]
pub(crate) struct Backoff {
    first: Duration,
    limit: u32,
    in_a_row: u32,
    total: u32,
}

impl Backoff {
    pub(crate) fn new(timeouts: &Timeouts, retries: u32) -> Self {
        Self { first: timeouts.backoff, limit: retries, in_a_row: 0, total: 0 }
    }

    /// Something arrived: the next failure is a first one again.
    pub(crate) fn progress(&mut self) {
        self.in_a_row = 0;
    }

    /// Sleeps before the next attempt.
    ///
    /// # Errors
    /// The failure itself, if it is final or there were too many.
    pub(crate) async fn pause(&mut self, failure: Failure) -> Result<(), Failure> {
        let delay = self.delay(failure)?;
        tokio::time::sleep(delay).await;
        Ok(())
    }

    fn delay(&mut self, failure: Failure) -> Result<Duration, Failure> {
        let Some(asked) = failure.retry else { return Err(failure) };
        if self.in_a_row >= self.limit || self.total >= TOTAL || asked > LONGEST {
            return Err(failure);
        }
        let pause = self.first * (1 << self.in_a_row.min(5));
        self.in_a_row += 1;
        self.total += 1;
        // Spread, so that many clients do not come back at the same instant.
        let nanos = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |d| d.subsec_nanos());
        let spread = pause.mul_f64(f64::from(nanos % 1000) / 2000.0);
        Ok(asked.max(pause / 2 + spread))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use oci::Error;

    #[test]
    fn gives_up_in_the_end() {
        let mut backoff = Backoff::new(&Timeouts::default(), 3);
        let fail = || Failure::passing(Error::unavailable("x"));
        assert!((0..3).all(|_| backoff.delay(fail()).is_ok()));
        assert!(backoff.delay(fail()).is_err());
        backoff.progress();
        assert!(backoff.delay(fail()).is_ok());
        assert!(backoff.delay(Failure::fatal(Error::corrupt("x"))).is_err());
        let mut patient = Backoff::new(&Timeouts::default(), 3);
        let tries = (0..1000).take_while(|_| {
            patient.progress();
            patient.delay(fail()).is_ok()
        });
        assert_eq!(tries.count(), TOTAL as usize);
    }
}
