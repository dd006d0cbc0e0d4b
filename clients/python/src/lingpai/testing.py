"""Doubles for tests of services that use lingpai (R19): a source that needs no broker, and a broker in the process.

They need the standard library alone, and serve unittest, pytest and asyncio alike.
"""

from __future__ import annotations

import base64
import json
import queue
import secrets
import socket
import struct
import threading
from collections.abc import Callable, Sequence
from datetime import datetime, timedelta, timezone
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from typing import Any, Optional

from ._aio import AsyncSource
from ._client import Client
from ._errors import RpcError
from ._source import Source

__all__ = ["FakeBroker", "fixed_async_source", "fixed_source"]

#: How long a made-up token lives, and the one before it goes on, in seconds.
_LIFE = 7200.0
_GRACE = 300.0


def fixed_source(app: str, *values: str) -> Source:
    """A source that holds ``values[0]`` and needs no broker. Without values it raises NoToken, PENDING.

    A report puts the next value in its place (REFRESHED); of the last one it says STILL_VALID.
    """
    return _Fixed(app, values).app(app)


def fixed_async_source(app: str, *values: str) -> AsyncSource:
    """``fixed_source`` for asyncio."""
    return AsyncSource(fixed_source(app, *values))


class _Fixed(Client):
    """A client that asks nobody."""

    def __init__(self, app: str, values: Sequence[str]) -> None:
        self._values = list(values)
        super().__init__("http://127.0.0.1:1", apps=[app], start_optional=True)
        self.app(app)._take(_state(app, len(values[:1]), values[:1]), _time())

    def _start_threads(self) -> None:
        self._running.update(("lingpai-stream", "lingpai-expiry"))  # which it does without

    def _unary(self, method: str, request: dict[str, Any]) -> dict[str, Any]:
        app = str(request["appId"])
        generation = self.app(app)._generation
        is_last = generation >= len(self._values)
        if not is_last:
            generation += 1
        self._count("reports")
        return {
            "outcome": f"FORCE_REFRESH_OUTCOME_{'STILL_VALID' if is_last else 'REFRESHED'}",
            "state": _state(app, generation, self._values[:generation]),
            "serverTime": _time(),
        }


class _App:
    def __init__(self) -> None:
        #: Every value that was made, the newest last: its place from 1 is its generation.
        self.issued: list[str] = []
        self.killed: set[str] = set()


class _Watch:
    """A stream that is open: its apps, and what it is still to be told. None: nothing more."""

    def __init__(self, apps: Sequence[str]) -> None:
        self.apps = list(apps)
        self.waiting: queue.SimpleQueue[Optional[tuple[int, dict[str, Any]]]] = queue.SimpleQueue()


class FakeBroker:
    """A broker in this process, on a port of loopback, with a token of each app. Its tokens are made up, and live for two hours.

    It runs from its making to ``stop``, or by ``with``. Its methods may be called from any thread. ``heartbeat``: the longest that a stream says
    nothing, in seconds.
    """

    def __init__(self, *apps: str, heartbeat: float = 1.0) -> None:
        #: How many ForceRefresh calls came.
        self.reports = 0
        self._heartbeat = heartbeat
        self._lock = threading.RLock()
        self._apps: dict[str, _App] = {}
        self._refused: dict[str, RpcError] = {}
        self._watches: set[_Watch] = set()
        self._calls: dict[threading.Thread, socket.socket] = {}
        self._server: Optional[_Server] = None
        self._port = 0
        for app in apps:
            self.add(app)
        self.start()

    @property
    def target(self) -> str:
        """What ``Client`` takes: ``http://127.0.0.1:PORT``. It stays the same when the broker is stopped and started."""
        return f"http://127.0.0.1:{self._port}"

    def add(self, app: str) -> str:
        """Makes an app known, and returns the value of its first token. A client that asked for it before finds it after ``app_retry``."""
        with self._lock:
            self._apps.setdefault(app, _App())
            return self.rotate(app)

    def remove(self, app: str) -> None:
        """Takes an app out: its streams are told, and from now on it is unknown (NOT_FOUND)."""
        with self._lock:
            self._of(app)
            del self._apps[app]
            self._tell(app, {"removed": {"appId": app}})

    def rotate(self, app: str) -> str:
        """Makes a new token, tells every stream, and returns its value. The one before it is still honoured. Raises KeyError."""
        with self._lock:
            value = f"FAKE_{secrets.token_hex(24)}"
            self._of(app).issued.append(value)
            self._tell(app, {"state": self._state(app)})
            return value

    def kill(self, app: str) -> None:
        """The tokens of now are refused from now on: a report makes a new one. Nobody is told. Raises KeyError."""
        with self._lock:
            self._of(app).killed.update(self._of(app).issued)

    def honours(self, app: str, value: str) -> bool:
        """Whether WeChat would take this value: the newest token or the one before it, unless it was killed. Raises KeyError."""
        with self._lock:
            return value in self._of(app).issued[-2:] and value not in self._of(app).killed

    def refuse(self, error: Optional[RpcError], method: Optional[str] = None) -> None:
        """Answers with an error from now on, and ends the streams with it. None: no longer.

        ``method``: only for ``Get``, ``ForceRefresh`` or ``WatchToken``. For instance
        ``RpcError("RESOURCE_EXHAUSTED", "too soon", reason="COOLDOWN", retry_after=60)``.
        """
        with self._lock:
            for name in [method] if method else ["Get", "ForceRefresh", "WatchToken"]:
                if error is None:
                    self._refused.pop(name, None)
                else:
                    self._refused[name] = error
            if "WatchToken" in self._refused:
                self._end({"error": _error(self._refused["WatchToken"])})

    def drain(self, reconnect_after: float = 0.1) -> None:
        """Asks each client to open its stream anew after so many seconds (goaway), and ends the streams."""
        with self._lock:
            for watch in self._watches:
                watch.waiting.put((0, {"goaway": {"reconnectAfter": f"{reconnect_after:.9f}s"}, "serverTime": _time()}))
            self._end({})

    def start(self) -> None:
        """Listens again after ``stop``, at the same address, with the tokens as they were."""
        with self._lock:
            if self._server is None:
                self._server = _Server(self, self._port)
                self._port = self._server.server_address[1]
                self._thread = threading.Thread(target=self._server.serve_forever, args=(0.02,), name="lingpai-fake-broker", daemon=True)
                self._thread.start()

    def stop(self) -> None:
        """Ends it, with every connection. May be called any number of times."""
        with self._lock:
            server, self._server = self._server, None
        if server is None:
            return
        server.shutdown()
        server.server_close()
        with self._lock:
            self._thread.join()
            for watch in self._watches:
                watch.waiting.put(None)
            calls = dict(self._calls)
            for connection in calls.values():
                try:
                    connection.shutdown(socket.SHUT_RDWR)
                except OSError:
                    pass  # the client was faster
        for thread in calls:
            thread.join(1.0)

    def __enter__(self) -> FakeBroker:
        return self

    def __exit__(self, kind: Optional[type[BaseException]], error: Optional[BaseException], trace: Optional[TracebackType]) -> None:
        self.stop()

    def _of(self, app: str) -> _App:
        try:
            return self._apps[app]
        except KeyError:
            raise KeyError(f"the fake broker has no {app}: name it at its making, or add it") from None

    def _state(self, app: str) -> dict[str, Any]:
        issued = self._of(app).issued
        return _state(app, len(issued), issued)

    def _tell(self, app: str, event: dict[str, Any]) -> None:
        for watch in self._watches:
            if app in watch.apps:
                watch.waiting.put((0, {**event, "serverTime": _time()}))

    def _end(self, end: dict[str, Any]) -> None:
        for watch in self._watches:
            watch.waiting.put((2, end))
            watch.waiting.put(None)
        self._watches.clear()

    def _check(self, method: str, apps: Sequence[str]) -> None:
        if method in self._refused:
            raise self._refused[method]
        for app in apps:
            if app not in self._apps:
                raise RpcError("NOT_FOUND", f"no app {app} is configured", reason="APP_NOT_FOUND", app=app)

    def _unary(self, method: str, request: dict[str, Any]) -> dict[str, Any]:
        with self._lock:
            app = str(request.get("appId"))
            if method == "ForceRefresh":
                self.reports += 1
            self._check(method, [app])
            if method != "ForceRefresh":
                return {"state": self._state(app), "serverTime": _time()}
            issued, killed = self._of(app).issued, self._of(app).killed
            outcome = "ALREADY_NEWER"
            if not request.keys() & {"rejectedToken", "rejectedGeneration"}:
                outcome = "REFRESHED"
            elif request.get("rejectedToken") == issued[-1] or str(request.get("rejectedGeneration")) == str(len(issued)):
                outcome = "REFRESHED" if issued[-1] in killed else "STILL_VALID"
            if outcome == "REFRESHED":
                self.rotate(app)
            return {"outcome": f"FORCE_REFRESH_OUTCOME_{outcome}", "state": self._state(app), "serverTime": _time()}

    def _watch(self, request: dict[str, Any], send: Callable[[int, dict[str, Any]], None]) -> None:
        with self._lock:
            apps = request.get("appIds") or list(self._apps)
            self._check("WatchToken", apps)
            watch = _Watch(apps)
            watch.waiting.put((0, {"heartbeat": {"asOf": _time()}, "serverTime": _time()}))
            for app in apps:
                if int(request.get("knownGenerations", {}).get(app, 0)) < len(self._of(app).issued):
                    watch.waiting.put((0, {"state": self._state(app), "serverTime": _time()}))
            self._watches.add(watch)
        try:
            while True:
                try:
                    message = watch.waiting.get(timeout=self._heartbeat)
                except queue.Empty:
                    message = (0, {"heartbeat": {"asOf": _time()}, "serverTime": _time()})
                if message is None:
                    return
                send(*message)
        finally:
            with self._lock:
                self._watches.discard(watch)


class _Server(ThreadingHTTPServer):
    daemon_threads = True

    def __init__(self, broker: FakeBroker, port: int) -> None:
        self.broker = broker
        super().__init__(("127.0.0.1", port), _Handler)

    def handle_error(self, request: Any, client_address: Any) -> None:
        pass  # a connection that ended


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: _Server

    def handle(self) -> None:
        broker, thread = self.server.broker, threading.current_thread()
        with broker._lock:
            if broker._server is not self.server:
                return  # stopped meanwhile
            broker._calls[thread] = self.connection
        try:
            super().handle()
        finally:
            with broker._lock:
                del broker._calls[thread]

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        method = self.path.rpartition("/")[2]
        if method == "WatchToken":
            self._stream(json.loads(body[5:]))
            return
        try:
            self._answer(200, self.server.broker._unary(method, json.loads(body)))
        except RpcError as error:
            self._answer(500, _error(error))

    def _answer(self, status: int, answer: dict[str, Any]) -> None:
        body = json.dumps(answer).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def _stream(self, request: dict[str, Any]) -> None:
        self.send_response(200)
        self.send_header("Content-Type", "application/connect+json")
        self.send_header("Transfer-Encoding", "chunked")
        self.end_headers()
        self.close_connection = True
        try:
            self.server.broker._watch(request, self._send)
        except RpcError as error:
            self._send(2, {"error": _error(error)})

    def _send(self, flags: int, message: dict[str, Any]) -> None:
        body = json.dumps(message).encode()
        self.wfile.write(b"%x\r\n%b%b\r\n" % (len(body) + 5, struct.pack(">BI", flags, len(body)), body))

    def log_message(self, format: str, *args: Any) -> None:
        pass  # a test's output is its own


def _time(after: float = 0.0) -> str:
    return (datetime.now(timezone.utc) + timedelta(seconds=after)).strftime("%Y-%m-%dT%H:%M:%S.%fZ")


def _state(app: str, generation: int, issued: Sequence[str]) -> dict[str, Any]:
    """The state of an app of which these values were issued, the newest last."""
    tokens = [{"value": value, "expireTime": _time(life)} for value, life in zip(reversed(issued), (_LIFE, _GRACE))]
    status = "TOKEN_STATUS_FRESH" if tokens else "TOKEN_STATUS_PENDING"
    return {"appId": app, "generation": str(generation), "status": status, **dict(zip(("current", "previous"), tokens))}


def _error(error: RpcError) -> dict[str, Any]:
    """An error as Connect has it, with its details as protobuf."""
    info = _text(1, error.reason) + _text(2, "lingpai")
    if error.app:
        info += _text(3, _text(1, "app_id") + _text(2, error.app))
    details = [("google.rpc.ErrorInfo", info)] if error.reason else []
    if error.retry_after > 0:
        whole = int(error.retry_after)
        duration = b"\x08" + _varint(whole) + b"\x10" + _varint(int((error.retry_after - whole) * 1e9))
        details.append(("google.rpc.RetryInfo", _text(1, duration)))
    return {
        "code": {"CANCELLED": "canceled"}.get(error.code, error.code.lower()),
        "message": error.words,
        "details": [{"type": name, "value": base64.b64encode(packed).decode().rstrip("=")} for name, packed in details],
    }


def _text(number: int, value: Any) -> bytes:
    packed = value.encode() if isinstance(value, str) else value
    return bytes([number << 3 | 2]) + _varint(len(packed)) + packed


def _varint(value: int) -> bytes:
    low, rest = value & 0x7F, value >> 7
    return bytes([low | 0x80]) + _varint(rest) if rest else bytes([low])
