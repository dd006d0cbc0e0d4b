"""What the tests share."""

from __future__ import annotations

import json
import os
import queue
import select
import signal
import sys
import threading
import time
import traceback
import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from unittest import mock

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "src"))

import lingpai
from lingpai._aside import Aside
from lingpai._connect import Connection, addresses_of

#: The longest that a test waits for what must come, in seconds. It is waited out by a test that fails.
PATIENCE = 10.0

#: A client that finds everything out at once.
QUICK = lingpai.Timing(silence=5.0, backoff_base=0.01, backoff_floor=0.001, backoff_cap=0.05, slow=0.02, app_retry=0.02)


def connection_of(settings: Any) -> Connection:
    """A connection of no client's."""

    def spawn(name: str, work: Callable[[], None]) -> bool:
        threading.Thread(target=work, name=name, daemon=True).start()
        return True

    connection = Connection(settings, Aside("lingpai-key", settings.bearer, spawn), Aside("lingpai-dns", lambda: addresses_of(settings), spawn))
    connection.deadline = time.monotonic() + PATIENCE
    return connection


class Told:
    """What ``on_event`` was told, to be waited for."""

    def __init__(self) -> None:
        self._events: queue.SimpleQueue[Mapping[str, Any]] = queue.SimpleQueue()

    def __call__(self, event: Mapping[str, Any]) -> None:
        self._events.put(event)

    def wait(self, **fields: Any) -> Mapping[str, Any]:
        """The next event that has these fields."""
        end = time.monotonic() + PATIENCE
        while True:
            event = self._events.get(timeout=max(0.0, end - time.monotonic()))
            if all(event.get(name) == value for name, value in fields.items()):
                return event


class Clock:
    """Time that a test drives, in the place of time.monotonic()."""

    def __init__(self) -> None:
        self.now = 1000.0

    @contextmanager
    def driven(self) -> Iterator[Clock]:
        with mock.patch("time.monotonic", lambda: self.now):
            yield self


def in_time(work: Callable[[], Any]) -> Any:
    """What ``work`` gives, on a thread that is given up where it hangs."""
    results: queue.SimpleQueue[tuple[bool, Any]] = queue.SimpleQueue()

    def run() -> None:
        try:
            results.put((True, work()))
        except BaseException as error:
            results.put((False, error))

    threading.Thread(target=run, daemon=True).start()
    try:
        is_good, result = results.get(timeout=PATIENCE)
    except queue.Empty:
        raise AssertionError("it hangs") from None
    if not is_good:
        raise result
    return result


def in_child(work: Callable[[], Any]) -> Any:
    """What ``work`` gives in a child of fork, as JSON carries it."""
    read_end, write_end = os.pipe()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # that this process has threads is what is tried
        pid = os.fork()
    if pid == 0:
        try:
            result = json.dumps(work())
        except BaseException:
            result = json.dumps({"failed": traceback.format_exc()})
        os.write(write_end, result.encode())
        os._exit(0)
    os.close(write_end)
    with os.fdopen(read_end) as pipe:
        is_over, _, _ = select.select([pipe], [], [], PATIENCE)
        if not is_over:
            os.kill(pid, signal.SIGKILL)
        result = json.load(pipe) if is_over else {"failed": "it hangs"}
    os.waitpid(pid, 0)
    if isinstance(result, dict) and "failed" in result:
        raise AssertionError(result["failed"])
    return result


def threads() -> list[str]:
    """The names of the library's threads that run."""
    return sorted(thread.name for thread in threading.enumerate() if thread.name.startswith("lingpai-") and "fake" not in thread.name)
