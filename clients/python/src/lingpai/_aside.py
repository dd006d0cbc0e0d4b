from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import Future
from typing import Generic, Optional, TypeVar

from ._errors import Closed

T = TypeVar("T")


class Aside(Generic[T]):
    """Work that may block for as long as it likes (the resolver, a user's function), done on a thread of its own.

    It can neither be bounded nor interrupted, so that whoever waits must be able to leave it. It is under way at most once, however many wait.
    """

    def __init__(self, thread: str, work: Callable[[], T], spawn: Callable[[str, Callable[[], None]], bool]) -> None:
        self._thread = thread
        self._work = work
        self._spawn = spawn
        self._lock = threading.Lock()
        self._flight: Optional[Future[T]] = None

    def result(self) -> Future[T]:
        """What comes of it, some day. Raises Closed, and RuntimeError where there can be no more threads."""
        with self._lock:
            if self._flight is None or self._flight.done():
                flight: Future[T] = Future()
                if not self._spawn(self._thread, lambda: self._do(flight)):
                    raise Closed()
                self._flight = flight
            return self._flight

    def _do(self, flight: Future[T]) -> None:
        try:
            flight.set_result(self._work())
        except BaseException as error:  # whoever waits has it
            flight.set_exception(error)
