"""How long to wait between streams that fail."""

import random

from failure import Failure

PAUSE_MIN = 0.1  # seconds, as all of these
GOAWAY_MAX = 60.0
RETRY_MAX = 300.0  # the longest that a RetryInfo is believed


class Backoff:
    """Counts `failures` in a row, of one kind, and makes the pauses longer with each."""

    def __init__(self) -> None:
        self.failures = 0
        self._slow = False

    def after(self, failure: Failure, lived: bool) -> float:
        """The pause after a failure. It is drawn at random, so that many clients that lost one broker do not return
        together, and is never shorter than the broker asks. `lived`: the stream that failed was a good one."""
        # A credential that expired while it was used is read anew: only where that one is refused too must someone mend it.
        renewed = lived and failure.reason == "CREDENTIALS_EXPIRED"
        slow = failure.needs_operator and not renewed
        if slow != self._slow:
            self.failures, self._slow = 0, slow
        base, longest = (30.0, 300.0) if self._slow else (0.5, 10.0)
        bound = min(longest, base * 2 ** min(self.failures, 10))
        self.failures += 1
        asked = min(failure.retry_after, RETRY_MAX)
        if self._slow:
            return _spread(max(bound, asked))
        pause = random.uniform(PAUSE_MIN, bound)
        return pause if pause > asked else _spread(asked)


def _spread(pause: float) -> float:
    """Adds up to a fifth."""
    return pause * random.uniform(1, 1.2)
