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
        # In a row, of each lane.
        self._slow = self._fast = 0

    def after(self, error: RpcError, lived: Optional[float]) -> float:
        """The pause after a failure, in seconds. ``lived``: for how long its stream did after its first message; None: no message came."""
        timing = self._timing
        # A credential that expired while it was used is read anew: only where that one is refused too must someone mend it.
        is_slow = error.needs_operator and not (lived is not None and error.reason == "CREDENTIALS_EXPIRED")
        if lived is not None:
            self.ended(lived)
        asked = min(error.retry_after, timing.retry_cap)
        if is_slow:
            self._slow += 1
            return self._spread(max(_doubled(timing.slow, self._slow - 1, timing.slow_cap), asked))
        self._fast += 1
        bound = _doubled(timing.backoff_base, self._fast - 1, timing.backoff_cap)
        pause = timing.backoff_floor + self._draw() * max(0.0, bound - timing.backoff_floor)
        return pause if pause >= asked else self._spread(asked)

    def ended(self, lived: float) -> None:
        """A stream ended: a good one makes the pauses short again."""
        if lived >= self._timing.life:
            self._slow = self._fast = 0

    def _spread(self, seconds: float) -> float:
        return seconds * (1 + self._draw() / 5)


def _doubled(pause: float, times: int, cap: float) -> float:
    return min(cap, pause * 2.0 ** min(times, 30))
