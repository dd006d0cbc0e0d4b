from __future__ import annotations

import heapq
import logging
import os
import threading
import time
import weakref
from collections import deque
from collections.abc import Callable, Sequence
from types import TracebackType
from typing import Any, Optional

from ._backoff import Backoff
from ._connect import Connection
from ._errors import Closed, RpcError, StartTimeout
from ._options import Event, Settings, Timing, settings_of
from ._source import Source

_log = logging.getLogger("lingpai")

_clients: weakref.WeakSet[Client] = weakref.WeakSet()

#: The longest that ``close`` waits for threads, in seconds.
_CLOSE = 1.5


class _Reopen(Exception):
    """The stream is to be opened anew at once."""


class Client:
    """One stream to the broker, and the tokens that it brought. A process needs one. Its methods may be called from any thread.

    ``target``: the broker's HTTP port, ``http://HOST:PORT`` or ``https://HOST:PORT``. ``apps``: 1 to 10,000 app ids.

    The start waits until a token of every app is held, at most ``start_timeout`` seconds. Raises ConfigurationError; RpcError at once where the
    broker does not know an app or refuses the key; StartTimeout where a token is still missing. With ``start_optional`` it waits for nothing.

    ``ca``, ``cert``, ``cert_key`` are paths of PEM files; ``key`` an access key, ``key_file`` the path of a file with it, ``get_key`` a function that
    gives it. All are read at each attempt to connect. Without TLS a key goes to loopback only, unless ``plaintext`` is set.

    ``on_event`` is told of what happens, never of a token's value. It must not block; what it raises is swallowed.
    """

    def __init__(
        self,
        target: str,
        *,
        apps: Sequence[str],
        start_timeout: float = 10.0,
        start_optional: bool = False,
        ca: Optional[str] = None,
        cert: Optional[str] = None,
        cert_key: Optional[str] = None,
        key: Optional[str] = None,
        key_file: Optional[str] = None,
        get_key: Optional[Callable[[], str]] = None,
        plaintext: bool = False,
        on_event: Optional[Callable[[Event], None]] = None,
        timing: Optional[Timing] = None,
    ) -> None:
        self._settings: Settings = settings_of(
            target,
            apps=apps,
            start_timeout=start_timeout,
            start_optional=start_optional,
            ca=ca,
            cert=cert,
            cert_key=cert_key,
            key=key,
            key_file=key_file,
            get_key=get_key,
            plaintext=plaintext,
            on_event=on_event,
            timing=timing,
        )
        self._sources = {app: Source(app, self) for app in self._settings.apps}
        self._counts = {"attempts": 0, "reconnects": 0, "goaways": 0, "reports": 0}
        self._state = "CONNECTING"
        self._failures = 0
        self._last: Optional[RpcError] = None
        self._begin()
        _clients.add(self)
        if not start_optional:
            try:
                self._wait_for_start()
            except BaseException:
                self.close()
                raise

    def _begin(self) -> None:
        """Threads and what they share: made anew in a child of fork."""
        self._pid = os.getpid()
        self._lock = threading.RLock()
        self._changed = threading.Condition(self._lock)
        self._closing = threading.Event()
        self._telling = threading.Lock()
        self._queued: deque[Event] = deque()
        self._is_telling = False
        self._connections: set[Connection] = set()
        self._threads: set[threading.Thread] = set()
        self._unknown: set[str] = set()
        self._due: list[tuple[float, int, Source]] = []
        self._fatal: Optional[RpcError] = None
        self._stream: Optional[Connection] = None
        self._reopen = False
        self._spawn("lingpai-stream", self._run)
        self._spawn("lingpai-expiry", self._expire)

    def app(self, app: str) -> Source:
        """An app's source. Raises KeyError for an app that the client was not made with."""
        try:
            return self._sources[app]
        except KeyError:
            raise KeyError(f"the client was made without {app}: name it in apps") from None

    def stats(self) -> dict[str, Any]:
        """``state`` (CONNECTING, LIVE, STALE, CLOSED), counts, and how each app is doing."""
        with self._lock:
            apps = {app: source._stats() for app, source in self._sources.items()}
            return {"state": self._state, **self._counts, "apps": apps}

    def close(self) -> None:
        """Ends the stream, pauses, and calls under way; reads raise Closed from now on. May be called any number of times, within 2 s."""
        with self._lock:
            is_first = self._state != "CLOSED"
            self._state = "CLOSED"
            self._closing.set()
            self._changed.notify_all()
            connections, threads = list(self._connections), list(self._threads)
        for connection in connections:
            connection.abort()
        if is_first:
            for source in self._sources.values():
                source._close()
            self._tell({"type": "closed"})
        end = time.monotonic() + _CLOSE
        for thread in threads:
            if thread is not threading.current_thread():
                thread.join(max(0.0, end - time.monotonic()))

    def __enter__(self) -> Client:
        return self

    def __exit__(self, kind: Optional[type[BaseException]], error: Optional[BaseException], trace: Optional[TracebackType]) -> None:
        self.close()

    def _wait_for_start(self) -> None:
        end = time.monotonic() + self._settings.start_timeout
        with self._lock:
            while True:
                missing = [app for app, source in self._sources.items() if source._known() is None]
                if self._fatal is not None:
                    raise self._fatal
                if not missing:
                    return
                left = end - time.monotonic()
                if left <= 0:
                    raise StartTimeout(missing, self._settings.start_timeout, self._last)
                self._changed.wait(left)

    # Threads.

    def _spawn(self, name: str, work: Callable[[], None]) -> bool:
        """Starts a thread that close waits for; False once the client is closed."""

        def run() -> None:
            try:
                work()
            finally:
                with self._lock:
                    self._threads.discard(thread)

        thread = threading.Thread(target=run, name=name, daemon=True)
        with self._lock:
            if self._state == "CLOSED":
                return False
            thread.start()  # under the lock: close joins what it finds, and a thread that has not started cannot be joined
            self._threads.add(thread)
        return True

    def _look_at_pid(self) -> None:
        if self._pid != os.getpid():
            self._after_fork()

    def _after_fork(self) -> None:
        """In the child: the threads and the lock are the parent's; the tokens stay."""
        if self._pid == os.getpid() or self._state == "CLOSED":
            return
        connections = list(self._connections)
        for source in self._sources.values():
            source._reports = {}
            source._listeners = set()
        self._state = "STALE" if self._state == "LIVE" else self._state
        self._begin()
        for connection in connections:
            connection.forget()
        with self._lock:
            for source in self._sources.values():
                if source._expires is not None:
                    self._expect(source._expires, source)

    def _expect(self, at: float, source: Source) -> None:
        """Has a source look at a time of time.monotonic() whether its token is over."""
        with self._lock:
            heapq.heappush(self._due, (at, id(source), source))
            self._changed.notify_all()

    def _expire(self) -> None:
        while not self._closing.is_set():
            with self._lock:
                wait = self._due[0][0] - time.monotonic() if self._due else None
                if wait is None or wait > 0:
                    self._changed.wait(wait if wait is None else min(wait, 3600.0))
                    continue
                _, _, source = heapq.heappop(self._due)
            source._expire()

    def _run(self) -> None:
        backoff = Backoff(self._settings.timing)
        while not self._closing.is_set():
            with self._lock:
                apps = [app for app in self._sources if app not in self._unknown]
                if not apps:
                    self._changed.wait()
                    continue
            self._closing.wait(self._attempt(apps, backoff))

    def _attempt(self, apps: list[str], backoff: Backoff) -> float:
        """One stream, from its connection to its end. Gives the pause before the next, in seconds."""
        timing = self._settings.timing
        connection = Connection(self._settings)
        first: Optional[float] = None
        self._counts["attempts"] += 1
        try:
            self._track(connection)
            deadline = time.monotonic() + timing.silence
            bearer = self._settings.bearer()
            connection.open()
            with self._lock:
                if len(apps) < len(self._sources) - len(self._unknown):
                    return 0.0  # another app is known meanwhile
                self._stream, self._reopen = connection, False
                held = {app: self._sources[app]._known() for app in apps}
            known = {app: str(generation) for app, generation in held.items() if generation is not None}
            connection.deadline = deadline
            for message in connection.stream("WatchToken", {"appIds": apps, "knownGenerations": known}, bearer):
                connection.deadline = time.monotonic() + timing.silence
                if first is None:
                    first = time.monotonic()
                    self._lives()
                goaway = self._take(message)
                if goaway is not None:
                    backoff.ended(time.monotonic() - first)
                    with self._lock:
                        self._state = "STALE" if self._state == "LIVE" else self._state
                    return goaway
            raise RpcError("UNAVAILABLE", "the stream ended")
        except Closed:
            if not self._reopen:
                return 0.0
            with self._lock:
                self._state = "STALE" if self._state == "LIVE" else self._state
            return 0.0
        except Exception as thrown:
            error = thrown if isinstance(thrown, RpcError) else RpcError("UNKNOWN", f"{type(thrown).__name__}: {thrown}")
            return self._failed(error, backoff, None if first is None else time.monotonic() - first)
        finally:
            self._untrack(connection)

    def _lives(self) -> None:
        with self._lock:
            was = self._state
            if was == "CLOSED":
                return
            self._state = "LIVE"
            if was == "STALE":
                self._counts["reconnects"] += 1
        if self._failures > 0:
            _log.info("the stream to the broker is back")
            self._failures = 0
        if was == "STALE":
            self._tell({"type": "reconnect"})

    def _take(self, message: dict[str, Any]) -> Optional[float]:
        """Takes one event. Gives the pause that a goaway asks for, in seconds."""
        state, removed, goaway = message.get("state"), message.get("removed"), message.get("goaway")
        if isinstance(state, dict) and state.get("appId") in self._sources:
            self._sources[state["appId"]]._take(state, message.get("serverTime"))
        if isinstance(removed, dict) and removed.get("appId") in self._sources:
            self._sources[removed["appId"]]._drop("REMOVED")
        if not isinstance(goaway, dict):
            return None
        timing = self._settings.timing
        try:
            asked = float(str(goaway.get("reconnectAfter") or "0s").rstrip("s"))
        except ValueError:
            asked = 0.0
        after = max(timing.backoff_floor, min(asked, timing.goaway_cap))
        self._counts["goaways"] += 1
        self._tell({"type": "goaway", "afterMs": round(after * 1000)})
        return after

    def _failed(self, error: RpcError, backoff: Backoff, lived: Optional[float]) -> float:
        """What follows from a stream's error: the pause before the next, in seconds."""
        app = error.app if error.code == "NOT_FOUND" and error.app in self._sources else ""
        with self._lock:
            self._last = error
            self._state = "STALE" if self._state == "LIVE" else self._state
            if error.code in ("NOT_FOUND", "INVALID_ARGUMENT", "UNAUTHENTICATED"):
                self._fatal = error
            self._changed.notify_all()
        pause = 0.0 if app else backoff.after(error, lived)
        self._failures += 1
        if error.needs_operator or self._failures % 10 == 3:
            _log.warning("the stream to the broker failed, the next try is in %.1f s: %s", pause, error)
        self._tell_error("watch", error, pause)
        if app:
            with self._lock:
                self._unknown.add(app)
            self._sources[app]._drop("NOT_FOUND")
            self._spawn("lingpai-probe", lambda: self._probe(app))
        return pause

    def _probe(self, app: str) -> None:
        """Asks for an app that the broker does not know, until it does."""
        retry = self._settings.timing.app_retry
        while not self._closing.wait(retry):
            try:
                answer = self._unary("Get", {"appId": app})
                if isinstance(answer.get("state"), dict):
                    self._sources[app]._take(answer["state"], answer.get("serverTime"))
            except Closed:
                return
            except RpcError as error:
                if not error._knows(app):
                    if error.code != "NOT_FOUND":
                        self._tell_error("get", error, retry)
                    continue
            with self._lock:
                self._unknown.discard(app)
                self._reopen = True
                stream = self._stream
                self._changed.notify_all()
            if stream is not None:
                stream.abort()
            return

    def _unary(self, method: str, request: dict[str, Any]) -> dict[str, Any]:
        """A call on a connection of its own. Raises RpcError or Closed."""
        if method == "ForceRefresh":
            self._counts["reports"] += 1
        connection = Connection(self._settings)
        try:
            self._track(connection)
            bearer = self._settings.bearer()
            connection.open()
            connection.deadline = time.monotonic() + self._settings.timing.call
            return connection.unary(method, request, bearer)
        finally:
            self._untrack(connection)

    def _track(self, connection: Connection) -> None:
        with self._lock:
            self._connections.add(connection)
            if self._state == "CLOSED":
                raise Closed()

    def _untrack(self, connection: Connection) -> None:
        connection.close()
        with self._lock:
            self._connections.discard(connection)
            if self._stream is connection:
                self._stream = None

    def _tell_error(self, during: str, error: RpcError, retry: float) -> None:
        self._tell(
            {
                "type": "error",
                "during": during,
                "code": error.code,
                "reason": error.reason,
                "message": str(error),
                "retryInMs": round(retry * 1000),
            }
        )

    def _tell(self, event: Event) -> None:
        self._queue(event)
        self._tell_queued()

    def _queue(self, event: Event) -> None:
        """Has an event told by the next ``_tell_queued``: never under the lock, since what is told may use the client."""
        with self._telling:
            self._queued.append(event)

    def _tell_queued(self) -> None:
        """Tells what waits, in its order, unless another thread does."""
        while True:
            with self._telling:
                if self._is_telling or not self._queued:
                    return
                self._is_telling = True
                event = self._queued.popleft()
            try:
                if self._settings.on_event is not None:
                    self._settings.on_event(event)
            except Exception:
                _log.exception("on_event raised")
            finally:
                with self._telling:
                    self._is_telling = False


def _after_fork_in_child() -> None:
    for client in list(_clients):
        client._after_fork()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork_in_child)
