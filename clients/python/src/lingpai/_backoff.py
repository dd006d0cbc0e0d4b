from __future__ import annotations

import random
from collections.abc import Callable
from typing import Optional

from ._errors import RpcError
from ._options import Timing


class Backoff:
    """The pauses between streams that fail: rules R5, R8 and R9 of SPEC.md."""

    def __init__(self, timing: Timing, draw: Callable[[], float] = random.random) -> None:
        self._timing = timing
        self._draw = draw
        self._is_slow = False
        #: In a row, of one kind.
        self.failures = 0

    def after(self, error: RpcError, lived: Optional[float]) -> float:
        """The pause after a failure, in seconds. ``lived``: for how long its stream did after its first message; None: no message came."""
        timing = self._timing
        # A credential that expired while it was used is read anew: only where that one is refused too must someone mend it.
        is_slow = error.needs_operator and not (lived is not None and error.reason == "CREDENTIALS_EXPIRED")
        if is_slow != self._is_slow or (lived is not None and lived >= timing.life):
            self.failures = 0
        self._is_slow = is_slow
        base, cap = (timing.slow, timing.slow_cap) if is_slow else (timing.backoff_base, timing.backoff_cap)
        bound = min(cap, base * 2.0 ** min(self.failures, 30))
        self.failures += 1
        asked = min(error.retry_after, timing.retry_cap)
        if is_slow:
            return self._spread(max(bound, asked))
        pause = timing.backoff_floor + self._draw() * max(0.0, bound - timing.backoff_floor)
        return pause if pause >= asked else self._spread(asked)

    def ended(self, lived: float) -> None:
        """A stream ended without a failure: a good one makes the pauses short again."""
        if lived >= self._timing.life:
            self.failures = 0

    def _spread(self, seconds: float) -> float:
        return seconds * (1 + self._draw() / 5)
