from __future__ import annotations

import atexit
import copy
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

from ._aside import Aside
from ._backoff import Backoff
from ._connect import Connection, addresses_of
from ._errors import Closed, RpcError, StartTimeout
from ._log import say
from ._options import Event, Settings, Timing, settings_of
from ._source import Source, error_of
from ._token import Token

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
    gives it, within 10 s. All are read at each attempt to connect. Without TLS a key goes to loopback only, unless ``plaintext`` is set.

    ``on_event`` is told of what happens, never of a token's value (R17): dicts with a ``type``, one of ``state``, ``reconnect``, ``goaway``,
    ``report``, ``error``, ``closed``. It is called on the client's threads, one event at a time, and may use the client. It must not block; what it
    raises is logged and swallowed.
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
        self._has_ended = False
        self._failures = 0
        self._last: Optional[RpcError] = None
        #: By process id: who looks first makes the lock, with no lock that another thread may have held at a fork.
        self._forks: dict[int, threading.Lock] = {}
        self._begin()
        _clients.add(self)
        try:
            self._start_threads()
            if not start_optional:
                self._wait_for_start()
        except BaseException:
            self.close()
            raise

    def _begin(self) -> None:
        """What threads share: made anew in a child of fork."""
        self._lock = threading.RLock()
        self._changed = threading.Condition(self._lock)
        self._closing = threading.Event()
        self._telling = threading.Lock()
        self._queued: deque[Event] = deque()
        self._connections: set[Connection] = set()
        self._threads: set[threading.Thread] = set()
        #: The names of the threads that were started.
        self._running: set[str] = set()
        #: When each app that the broker does not know is asked for again, by time.monotonic().
        self._unknown: dict[str, float] = {}
        self._key = Aside("lingpai-key", self._settings.bearer, self._spawn)
        self._addresses = Aside("lingpai-dns", lambda: addresses_of(self._settings), self._spawn)
        self._due: list[tuple[float, int, Source]] = []
        self._fatal: Optional[RpcError] = None
        self._stream: Optional[Connection] = None
        self._pid = os.getpid()  # the last: who sees it uses what is above

    def app(self, app: str) -> Source:
        """An app's source. Raises KeyError for an app that the client was not made with."""
        try:
            return self._sources[app]
        except KeyError:
            raise KeyError(f"the client was made without {app}: name it in apps") from None

    def stats(self) -> dict[str, Any]:
        """``state`` (CONNECTING, LIVE, STALE, CLOSED), counts, and how each app is doing.

        ``attempts`` are streams that were tried, ``reconnects`` those that brought a message after one was lost, ``reports`` calls of
        ForceRefresh. ``apps`` has by app ``state`` (WAITING, HELD, NONE), ``generation`` (decimal), ``tokenId`` and ``reason``.
        """
        self._look_at_pid()
        with self._lock:
            apps = {app: source._stats() for app, source in self._sources.items()}
            return {"state": self._state, **self._counts, "apps": apps}

    def close(self) -> None:
        """Ends the stream, pauses, and calls under way; reads raise Closed from now on (R15).

        May be called at any time, from any thread or a signal handler, any number of times; it takes at most 2 s.
        """
        self._look_at_pid()
        with self._lock:
            is_first = self._state != "CLOSED"
            self._state = "CLOSED"
            if is_first:
                self._closing.set()
            self._changed.notify_all()
            connections, threads = list(self._connections), list(self._threads)
        for connection in connections:
            connection.abort()
        if is_first:
            for source in self._sources.values():
                source._close()
            with self._lock:
                self._queue({"type": "closed"})
                self._has_ended = True
            self._tell_queued()
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
                if self._state == "CLOSED":
                    raise Closed()
                missing = [app for app, source in self._sources.items() if source._known() is None]
                if self._fatal is not None:
                    raise copy.copy(self._fatal)
                if not missing:
                    return
                left = end - time.monotonic()
                if left <= 0:
                    raise StartTimeout(missing, self._settings.start_timeout, self._last)
                self._changed.wait(left)

    # Threads.

    def _spawn(self, name: str, work: Callable[[], None]) -> bool:
        """Starts a thread that close waits for; False once the client is closed. Raises RuntimeError where there can be no more threads."""

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

    def _start_threads(self) -> None:
        """Starts those that do not run. Raises RuntimeError where there can be no more threads."""
        with self._lock:
            for name, work in (("lingpai-stream", self._run), ("lingpai-expiry", self._expire), ("lingpai-probe", self._probe)):
                if name not in self._running and (self._unknown or name != "lingpai-probe"):
                    self._spawn(name, work)
                    self._running.add(name)

    def _keep_threads(self) -> None:
        """As ``_start_threads``, where threads that cannot be started are started later."""
        try:
            self._start_threads()
        except RuntimeError as error:
            say(logging.WARNING, "a thread of the client could not be started, it is tried again: %s", error)

    def _look_at_pid(self) -> None:
        """Whoever takes the lock looks first: in a child of fork another thread of the parent's may hold it for ever."""
        if self._pid != os.getpid():
            self._after_fork()
        elif len(self._running) < 2 and self._state != "CLOSED":
            self._keep_threads()

    def _after_fork(self) -> None:
        """In the child: the threads and the locks are the parent's; the tokens stay (R16)."""
        with self._forks.setdefault(os.getpid(), threading.Lock()):
            if self._pid == os.getpid():
                return
            connections = list(self._connections)
            for source in self._sources.values():
                source._reports = {}
                source._listeners = frozenset()
            self._state = "STALE" if self._state == "LIVE" else self._state
            self._begin()
        for connection in connections:
            connection.forget()
        if self._state == "CLOSED":
            self._closing.set()
            for source in self._sources.values():
                source._close()
            return
        with self._lock:
            for source in self._sources.values():
                if isinstance(source._held, Token) and source._held.expires_at is not None:
                    self._expect(source._held.expires_at, source)
        self._keep_threads()

    def _expect(self, at: float, source: Source) -> None:
        """Has a source look at a time of time.monotonic() whether its token is over."""
        with self._lock:
            heapq.heappush(self._due, (at, id(source), source))
            self._changed.notify_all()

    def _expire(self) -> None:
        while True:
            with self._lock:
                if self._closing.is_set():  # under the lock, as close sets it: else its notice would come before the wait
                    return
                wait = self._due[0][0] - time.monotonic() if self._due else None
                if wait is None or wait > 0:
                    self._changed.wait(wait if wait is None else min(wait, 3600.0))
                    continue
                _, _, source = heapq.heappop(self._due)
            source._expire()

    def _run(self) -> None:
        backoff = Backoff(self._settings.timing)
        while True:
            self._keep_threads()
            with self._lock:
                if self._closing.is_set():
                    return
                apps = [app for app in self._sources if app not in self._unknown]
                if not apps:
                    self._changed.wait(self._settings.timing.app_retry)
                    continue
            try:
                pause = self._attempt(apps, backoff)
            except Exception as thrown:  # no memory, for one: the next attempt may have it
                pause = backoff.after(error_of(thrown), None)
            self._closing.wait(pause)

    def _attempt(self, apps: list[str], backoff: Backoff) -> float:
        """One stream, from its connection to its end. Gives the pause before the next, in seconds."""
        timing = self._settings.timing
        connection = Connection(self._settings, self._key, self._addresses)
        first: Optional[float] = None
        self._count("attempts")
        try:
            self._track(connection)
            connection.deadline = time.monotonic() + timing.silence
            bearer = connection.bearer()
            connection.open()
            with self._lock:
                if len(apps) < len(self._sources) - len(self._unknown):
                    return 0.0  # another app is known meanwhile
                self._stream = connection
                held = {app: self._sources[app]._known() for app in apps}
            known = {app: str(generation) for app, generation in held.items() if generation is not None}
            for message in connection.stream("WatchToken", {"appIds": apps, "knownGenerations": known}, bearer):
                connection.deadline = time.monotonic() + timing.silence
                if first is None:
                    first = time.monotonic()
                    self._lives()
                goaway = self._take(message)
                if goaway is not None:
                    backoff.ended(time.monotonic() - first)
                    return goaway
            raise RpcError("UNAVAILABLE", "the stream ended")
        except Closed:
            self._lost()  # to ``_ask``, which has it opened anew, or to close
            return 0.0
        except Exception as thrown:
            return self._failed(error_of(thrown), apps, backoff, None if first is None else time.monotonic() - first)
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
        self._failures = 0
        if was == "STALE":
            say(logging.INFO, "the stream to the broker is back")
            self._tell({"type": "reconnect"})

    def _lost(self) -> None:
        with self._lock:
            if self._state != "LIVE":
                return
            self._state = "STALE"
        say(logging.INFO, "the stream to the broker is lost, the tokens held are served")

    def _count(self, name: str) -> None:
        with self._lock:
            self._counts[name] += 1

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
        self._count("goaways")
        self._lost()  # before whoever observes is told, who may look at ``stats``
        self._tell({"type": "goaway", "afterMs": round(after * 1000)})
        return after

    def _failed(self, error: RpcError, apps: Sequence[str], backoff: Backoff, lived: Optional[float]) -> float:
        """What follows from a stream's error: the pause before the next, in seconds."""
        error = copy.copy(error)  # without its traceback, whose frames have the key
        app = error.app if error.code == "NOT_FOUND" and error.app in apps else ""
        self._lost()
        with self._lock:
            self._last = error
            if error.code in ("NOT_FOUND", "INVALID_ARGUMENT", "UNAUTHENTICATED"):
                self._fatal = error
            if app:
                self._unknown[app] = time.monotonic() + self._settings.timing.app_retry
            self._changed.notify_all()
        if app:
            say(logging.WARNING, "the broker does not know an app, or it may not be read: %s", error)
            self._tell_error("watch", error, 0.0)
            self._sources[app]._drop("NOT_FOUND", error.words)
            return 0.0
        pause = backoff.after(error, lived)
        self._failures += 1
        if error.needs_operator or self._failures % 10 == 3:
            say(logging.WARNING, "the stream to the broker failed, the next try is in %.1f s: %s", pause, error)
        self._tell_error("watch", error, pause)
        return pause

    def _probe(self) -> None:
        """Asks for the apps that the broker does not know, each until it does (R10)."""
        while True:
            with self._lock:
                if self._closing.is_set():
                    return
                app = min(self._unknown, key=self._unknown.__getitem__, default="")
                wait = self._unknown[app] - time.monotonic() if app else None
                if wait is None or wait > 0:
                    self._changed.wait(wait)
                    continue
            self._ask(app)

    def _ask(self, app: str) -> None:
        retry = self._settings.timing.app_retry
        try:
            answer = self._unary("Get", {"appId": app})
            self._sources[app]._take(answer.get("state"), answer.get("serverTime"))
        except Closed:
            return
        except Exception as thrown:
            error = error_of(thrown)
            if not error._knows(app):
                with self._lock:
                    self._unknown[app] = time.monotonic() + retry
                if error.code != "NOT_FOUND":
                    self._tell_error("get", error, retry)
                return
        with self._lock:
            del self._unknown[app]
            stream = self._stream
            self._changed.notify_all()
        if stream is not None:
            stream.abort()

    def _unary(self, method: str, request: dict[str, Any]) -> dict[str, Any]:
        """A call on a connection of its own. Raises RpcError or Closed."""
        if method == "ForceRefresh":
            self._count("reports")
        connection = Connection(self._settings, self._key, self._addresses)
        connection.deadline = time.monotonic() + self._settings.timing.call
        try:
            self._track(connection)
            bearer = connection.bearer()
            connection.open()
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
        self._queue_error(during, error, retry)
        self._tell_queued()

    def _queue_error(self, during: str, error: RpcError, retry: float) -> None:
        self._queue(
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
        with self._lock:
            if not self._has_ended:  # closed is the last
                self._queued.append(event)

    def _tell_queued(self) -> None:
        """Tells what waits, in its order, unless that is being done: by another thread, or by this one, further out."""
        while self._queued and self._telling.acquire(blocking=False):
            try:
                self._tell_one(self._queued.popleft())
            except IndexError:
                pass  # another thread told it meanwhile
            finally:
                self._telling.release()

    def _tell_one(self, event: Event) -> None:
        try:
            if self._settings.on_event is not None:
                self._settings.on_event(event)
        except KeyboardInterrupt:
            raise  # it is the user's, and reaches the main thread alone
        except BaseException:  # SystemExit too: it would end the thread that brings the tokens
            say(logging.ERROR, "on_event raised", exc_info=True)


def _after_fork_in_child() -> None:
    for client in list(_clients):
        client._after_fork()


def _at_exit() -> None:
    """Ends threads before the interpreter does, which may be in the middle of a user's ``on_event``."""
    for client in list(_clients):
        client.close()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork_in_child)
atexit.register(_at_exit)
