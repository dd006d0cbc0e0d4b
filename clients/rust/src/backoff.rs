use std::time::Duration;

use crate::error::RpcError;
use crate::options::Timing;

/// The pauses between streams that fail: rules R5, R8 and R9 of SPEC.md.
pub(crate) struct Backoff {
    timing: Timing,
    /// Gives a number from 0 to 1.
    draw: fn() -> f64,
    /// Somebody must mend what failed last.
    pub is_slow: bool,
    /// Attempts in a row that failed, in either lane.
    pub failures: u32,
    slow: u32,
    fast: u32,
}

impl Backoff {
    pub fn new(timing: Timing, draw: fn() -> f64) -> Backoff {
        Backoff { timing, draw, is_slow: false, failures: 0, slow: 0, fast: 0 }
    }

    /// The pause after a failure. `lived`: for how long its stream did after its first message; `None`: no message came.
    pub fn after(&mut self, error: &RpcError, lived: Option<Duration>) -> Duration {
        let timing = self.timing;
        // A credential that expired while it was used is read anew: only where that one is refused too must someone mend it.
        self.is_slow = error.needs_operator && !(lived.is_some() && error.reason == "CREDENTIALS_EXPIRED");
        self.ended(lived);
        self.failures += 1;
        let asked = error.retry_after.min(timing.retry_cap);
        if self.is_slow {
            self.slow += 1;
            return self.spread(doubled(timing.slow, self.slow - 1, timing.slow_cap).max(asked));
        }
        self.fast += 1;
        let bound = doubled(timing.backoff_base, self.fast - 1, timing.backoff_cap);
        let floor = timing.backoff_floor;
        let pause = floor + bound.saturating_sub(floor).mul_f64((self.draw)());
        if pause >= asked {
            pause
        } else {
            self.spread(asked)
        }
    }

    /// A stream ended: a good one makes the pauses short again. `lived`: as above.
    pub fn ended(&mut self, lived: Option<Duration>) {
        if lived.is_some_and(|lived| lived >= self.timing.life) {
            (self.failures, self.slow, self.fast) = (0, 0, 0);
        }
    }

    fn spread(&self, pause: Duration) -> Duration {
        pause.mul_f64(1.0 + (self.draw)() / 5.0)
    }
}

fn doubled(pause: Duration, times: u32, cap: Duration) -> Duration {
    pause.saturating_mul(1 << times.min(30)).min(cap)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(code: &'static str, needs_operator: bool) -> RpcError {
        RpcError::of(code, "", needs_operator)
    }

    #[test]
    fn grows_to_the_cap_and_is_small_again_after_a_good_stream() {
        let mut backoff = Backoff::new(Timing::default(), || 1.0);
        let lost = refused("UNAVAILABLE", false);
        let pauses: Vec<_> = (0..7).map(|_| backoff.after(&lost, Some(Duration::from_secs(1))).as_millis()).collect();
        assert_eq!(pauses, [500, 1000, 2000, 4000, 8000, 10_000, 10_000]);
        assert_eq!(backoff.after(&lost, Some(Duration::from_secs(10))).as_millis(), 500);
    }

    #[test]
    fn is_never_shorter_than_the_floor_or_retry_info() {
        let mut backoff = Backoff::new(Timing::default(), || 0.0);
        let mut lost = refused("UNAVAILABLE", false);
        assert_eq!(backoff.after(&lost, None).as_millis(), 100);
        lost.retry_after = Duration::from_secs(3);
        assert_eq!(backoff.after(&lost, None).as_millis(), 3000);
        lost.retry_after = Duration::from_secs(3600);
        assert_eq!(backoff.after(&lost, None).as_secs(), 300);
    }

    #[test]
    fn what_an_operator_must_mend_is_slow_but_for_a_credential_that_expired_in_use() {
        let mut backoff = Backoff::new(Timing::default(), || 0.0);
        let mut refused = refused("UNAUTHENTICATED", true);
        let pauses: Vec<_> = (0..5).map(|_| backoff.after(&refused, None).as_secs()).collect();
        assert_eq!(pauses, [30, 60, 120, 240, 300]);
        refused.reason = "CREDENTIALS_EXPIRED".into();
        assert_eq!(backoff.after(&refused, Some(Duration::ZERO)).as_millis(), 100);
        assert_eq!(backoff.after(&refused, None).as_secs(), 300);
    }

    #[test]
    fn a_failure_of_the_other_lane_makes_no_pause_short() {
        let mut backoff = Backoff::new(Timing::default(), || 1.0);
        let (lost, refused) = (refused("UNAVAILABLE", false), refused("UNAUTHENTICATED", true));
        let pauses = [&lost, &lost, &refused, &lost, &refused].map(|error| backoff.after(error, None).as_millis());
        assert_eq!(pauses, [500, 1000, 36_000, 2000, 72_000]);
        backoff.ended(Some(Duration::from_secs(10)));
        assert_eq!([&refused, &lost].map(|error| backoff.after(error, None).as_millis()), [36_000, 500]);
    }
}
