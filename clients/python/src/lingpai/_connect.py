"""Connect over HTTP/1.1, as far as the broker's TokenService needs it: https://connectrpc.com/docs/protocol."""

from __future__ import annotations

import base64
import copy
import json
import re
import socket
import ssl
import struct
import threading
import time
from collections.abc import Iterator
from concurrent.futures import FIRST_COMPLETED, Future, wait
from typing import Any, Optional, TypeVar, Union

from ._aside import Aside
from ._errors import Closed, RpcError
from ._options import Settings

T = TypeVar("T")

#: The longest message and the longest head that are taken, in bytes.
MESSAGE_MAX = 4 << 20
HEAD_MAX = 64 << 10

#: What OpenSSL says of a peer that went away, a broker that starts behind a balancer for one: nobody has to mend that.
_ENDS = (ssl.SSLEOFError, ssl.SSLZeroReturnError)

_CODES = {401: "UNAUTHENTICATED", 403: "PERMISSION_DENIED", 404: "UNIMPLEMENTED"}


class Connection:
    """One socket, for one stream or one call. It is closed by whoever holds it, or by ``abort`` from any thread."""

    def __init__(self, settings: Settings, key: Aside[Optional[str]], addresses: Aside[list[Any]]) -> None:
        self._settings = settings
        self._key = key
        self._addresses = addresses
        self._aborted: Future[None] = Future()
        self._socket: Optional[socket.socket] = None
        self._buffer = bytearray()  # what is read is taken from its front, which costs as much as is taken
        self._is_aborted = False
        self._is_answered = False
        self._lock = threading.RLock()  # a signal handler may close a client while its thread closes it
        #: By time.monotonic(): what is not over by then, a read for one, fails.
        self.deadline = 0.0

    def bearer(self) -> Optional[str]:
        """The key to show, read anew, within ``call`` seconds and by ``deadline``. Raises RpcError or Closed."""
        settings = self._settings
        if settings.key_file is None and settings.get_key is None:
            return settings.bearer()
        return self._wait(self._key, settings.timing.call, RpcError("UNAUTHENTICATED", "the key cannot be read: it did not come in time"))

    def open(self) -> None:
        """Looks the host up and then connects, each within ``connect`` seconds, all by ``deadline``. Raises RpcError or Closed."""
        settings = self._settings
        context = settings.tls() if settings.is_tls else None
        last: Optional[OSError] = None
        addresses = self._look_up()
        deadline = self._by(settings.timing.connect)
        for at, (family, kind, protocol, _, address) in enumerate(addresses):
            # Each has its share of what is left: behind the first of a name's addresses there may be nothing.
            share = (deadline - time.monotonic()) / (len(addresses) - at)
            try:
                self._connect(socket.socket(family, kind, protocol), address, share)
                break
            except OSError as error:
                last = error
        else:
            self._check_aborted()
            raise RpcError("UNAVAILABLE", f"{settings.authority}: {last}") from None
        if context is not None:
            self._secure(context, deadline)

    def _look_up(self) -> list[Any]:
        try:
            return addresses_of(self._settings, socket.AI_NUMERICHOST)  # which asks no resolver
        except RpcError:
            late = RpcError("UNAVAILABLE", f"{self._settings.host}: its address did not come in time")
            return self._wait(self._addresses, self._settings.timing.connect, late)

    def _wait(self, aside: Aside[T], seconds: float, late: RpcError) -> T:
        """What comes of it, unless that takes too long, or the connection is aborted before."""
        flight = aside.result()
        either: list[Future[Any]] = [flight, self._aborted]
        wait(either, max(0.0, self._by(seconds) - time.monotonic()), FIRST_COMPLETED)
        self._check_aborted()
        if not flight.done():
            raise late
        error = flight.exception()
        if error is not None:
            raise copy.copy(error)  # raised by all that waited, one error would gather their tracebacks
        return flight.result()

    def _by(self, seconds: float) -> float:
        return min(self.deadline, time.monotonic() + seconds)

    def _connect(self, plain: socket.socket, address: Any, seconds: float) -> None:
        self._hold(plain)
        try:
            plain.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            plain.settimeout(max(0.001, seconds))
            plain.connect(address)
        except OSError:
            plain.close()
            raise

    def _secure(self, context: ssl.SSLContext, deadline: float) -> None:
        plain = self._socket
        assert plain is not None
        try:
            secured = context.wrap_socket(plain, server_hostname=self._settings.host, do_handshake_on_connect=False)
            self._hold(secured)
            secured.settimeout(max(0.001, deadline - time.monotonic()))
            secured.do_handshake()
        except (OSError, ValueError) as error:
            self._check_aborted()
            is_network = isinstance(error, (ConnectionError, TimeoutError, socket.timeout, *_ENDS))
            words = f"TLS with {self._settings.authority}: {error}{_hint(error)}"
            raise RpcError("UNAVAILABLE", words, needs_operator=not is_network) from None

    def stream(self, method: str, request: dict[str, Any], bearer: Optional[str]) -> Iterator[dict[str, Any]]:
        """A server stream's messages. ``deadline`` bounds each read. Raises RpcError, on a clean end too, or Closed."""
        body = json.dumps(request).encode()
        self._post(method, "application/connect+json", struct.pack(">BI", 0, len(body)) + body, bearer)
        status, headers = self._head()
        if status != 200 or not headers.get("content-type", "").startswith("application/connect+json"):
            raise self._refusal(status, headers)
        waiting = bytearray()
        for chunk in self._body(headers):
            waiting += chunk
            while len(waiting) >= 5:
                flags, length = struct.unpack_from(">BI", waiting)
                if length > MESSAGE_MAX or flags & 1:
                    raise RpcError("INTERNAL", f"a message of {length} bytes with flags {flags} cannot be read")
                if len(waiting) < 5 + length:
                    break
                message = _object(waiting[5 : 5 + length])
                del waiting[: 5 + length]
                if flags & 2:
                    if "error" in message:
                        raise _error_of(message["error"], "UNKNOWN")
                    raise RpcError("UNAVAILABLE", "the stream ended")
                yield message
        raise RpcError("UNAVAILABLE", "the stream ended")

    def unary(self, method: str, request: dict[str, Any], bearer: Optional[str]) -> dict[str, Any]:
        """One call, over by ``deadline``. Raises RpcError or Closed."""
        self._post(method, "application/json", json.dumps(request).encode(), bearer)
        status, headers = self._head()
        if status != 200:
            raise self._refusal(status, headers)
        return _object(b"".join(self._body(headers)))

    def abort(self) -> None:
        """Ends what is under way, from any thread: it raises Closed."""
        with self._lock:
            if not self._is_aborted:
                self._is_aborted = True  # first: a signal handler may come in between
                self._aborted.set_result(None)
            if self._socket is not None:
                try:
                    # Not SSLSocket's own, after which a read in another thread would take what is encrypted for plain.
                    socket.socket.shutdown(self._socket, socket.SHUT_RDWR)
                except (OSError, ValueError):
                    pass

    def close(self) -> None:
        with self._lock:
            if self._socket is not None:
                self._socket.close()
            self._socket = None

    def forget(self) -> None:
        """In a child of fork: frees the descriptor, and leaves the connection to the parent."""
        self._lock = threading.RLock()
        self.close()

    def _hold(self, held: socket.socket) -> None:
        with self._lock:
            self._socket = held
            if self._is_aborted:
                held.close()
                raise Closed()

    def _check_aborted(self) -> None:
        if self._is_aborted:
            raise Closed()

    def _post(self, method: str, content_type: str, body: bytes, bearer: Optional[str]) -> None:
        lines = [
            f"POST /lingpai.v1.TokenService/{method} HTTP/1.1",
            f"Host: {self._settings.authority}",
            f"Content-Type: {content_type}",
            f"Content-Length: {len(body)}",
            "Connect-Protocol-Version: 1",
            "User-Agent: lingpai-python/0.1.0",
        ]
        if bearer is not None:
            lines.append(f"Authorization: Bearer {bearer}")
        try:
            assert self._socket is not None
            self._socket.settimeout(max(0.001, self.deadline - time.monotonic()))
            self._socket.sendall("\r\n".join([*lines, "", ""]).encode() + body)
        except (OSError, ValueError, AssertionError) as error:
            self._check_aborted()
            raise RpcError("UNAVAILABLE", f"cannot send: {error}") from None

    def _receive(self) -> bytes:
        left = self.deadline - time.monotonic()
        try:
            if left <= 0 or self._socket is None:
                raise TimeoutError
            self._socket.settimeout(left)
            chunk = self._socket.recv(65536)
        except (TimeoutError, socket.timeout):
            self._check_aborted()
            raise RpcError("DEADLINE_EXCEEDED", "nothing came for too long: the connection must be dead") from None
        except (OSError, ValueError, AttributeError) as error:
            self._check_aborted()
            # A server says only after the handshake that it does not take a client certificate.
            is_refusal = isinstance(error, ssl.SSLError) and not isinstance(error, _ENDS)
            words = f"{self._settings.authority}: {error}" if self._is_answered or is_refusal else f"{self._unanswered()} {error}"
            raise RpcError("UNAVAILABLE", words, needs_operator=is_refusal) from None
        self._check_aborted()
        return chunk

    def _more(self) -> None:
        chunk = self._receive()
        if not chunk:
            raise RpcError("UNAVAILABLE", "the connection was closed" if self._is_answered else self._unanswered())
        self._buffer += chunk

    def _unanswered(self) -> str:
        kind = "with" if self._settings.is_tls else "without"
        return f"{self._settings.authority} closed the connection without an answer: is it the broker's HTTP port (7680), {kind} TLS?"

    def _line(self) -> bytes:
        end = self._buffer.find(b"\n")
        while end < 0:
            seen = len(self._buffer)
            if seen > HEAD_MAX:
                raise RpcError("INTERNAL", "a line of the answer is too long")
            self._more()
            end = self._buffer.find(b"\n", seen)
        return self._from_buffer(end + 1).rstrip(b"\r\n")

    def _from_buffer(self, size: int) -> bytes:
        taken = bytes(self._buffer[:size])
        del self._buffer[:size]
        return taken

    def _head(self) -> tuple[int, dict[str, str]]:
        parts = self._line().split(b" ", 2)
        if len(parts) < 2 or not parts[0].startswith(b"HTTP/1.") or not parts[1].isdigit():
            raise RpcError("UNAVAILABLE", "the answer is not HTTP/1.1: is this the HTTP port?")
        self._is_answered = True
        headers: dict[str, str] = {}
        size = 0
        for line in iter(self._line, b""):
            size += len(line)
            if size > HEAD_MAX:
                raise RpcError("INTERNAL", "the head of the answer is too long")
            name, _, value = line.decode("latin-1").partition(":")
            headers[name.strip().lower()] = value.strip()
        return int(parts[1]), headers

    def _body(self, headers: dict[str, str]) -> Iterator[bytes]:
        """The body as it comes; what a length or a chunk promises is bounded by MESSAGE_MAX."""
        if headers.get("transfer-encoding", "").lower() == "chunked":
            while True:
                try:
                    size = int(self._line().split(b";")[0], 16)
                except ValueError:
                    raise RpcError("INTERNAL", "a chunk of the answer has no length") from None
                yield from self._bytes(size)
                if size == 0:
                    return
                self._line()
        else:
            length = headers.get("content-length", "0")
            if not re.fullmatch("[0-9]{1,12}", length):
                raise RpcError("INTERNAL", "the answer's length is no number")
            yield from self._bytes(int(length))

    def _bytes(self, size: int) -> Iterator[bytes]:
        if not 0 <= size <= MESSAGE_MAX + 5:
            raise RpcError("INTERNAL", f"{size} bytes are more than a message may have")
        while size > 0:
            if not self._buffer:
                self._more()
            part = self._from_buffer(size)
            size -= len(part)
            yield part

    def _refusal(self, status: int, headers: dict[str, str]) -> RpcError:
        busy = status == 429 or 502 <= status <= 504
        code = _CODES.get(status, "UNAVAILABLE" if busy else "UNKNOWN")
        if headers.get("content-type", "").startswith("application/json"):
            return _error_of(_object(b"".join(self._body(headers))), code)
        return RpcError(code, f"HTTP status {status}: is this the broker's HTTP port?")


def addresses_of(settings: Settings, flags: int = 0) -> list[Any]:
    """The broker's addresses. The resolver may take as long as it likes. Raises RpcError."""
    try:
        return socket.getaddrinfo(settings.host, settings.port, type=socket.SOCK_STREAM, flags=flags)
    except (OSError, UnicodeError) as error:
        raise RpcError("UNAVAILABLE", f"{settings.host}: {getattr(error, 'strerror', None) or error}") from None


def _hint(error: Exception) -> str:
    if isinstance(error, ssl.SSLCertVerificationError):
        return ": is ca the file of who signed the broker's certificate, and the host a name in it?"
    return ": does it speak TLS? Else write http://" if getattr(error, "reason", "") == "WRONG_VERSION_NUMBER" else ""


def _object(text: Union[bytes, bytearray]) -> dict[str, Any]:
    try:
        value = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise RpcError("INTERNAL", f"a message is no JSON: {type(error).__name__}") from None
    if not isinstance(value, dict):
        raise RpcError("INTERNAL", "a message is no JSON object")
    return value


def _error_of(error: Any, otherwise: str) -> RpcError:
    """An error of Connect: a code in small letters, words, and details that are protobuf in base64."""
    if not isinstance(error, dict):
        return RpcError(otherwise, "an error that cannot be read")
    reason, app, retry_after = "", "", 0.0
    for detail in error.get("details") or []:
        try:
            text = str(detail["value"])
            packed = base64.b64decode(text + "=" * (-len(text) % 4))
            if str(detail["type"]).endswith("google.rpc.ErrorInfo"):
                for number, value in _fields(packed):
                    if number == 1 and isinstance(value, bytes):
                        reason = value.decode()
                    elif number == 3 and isinstance(value, bytes):
                        entry = dict(_fields(value))
                        if entry.get(1) == b"app_id" and isinstance(entry.get(2), bytes):
                            app = bytes(entry[2]).decode()
            elif str(detail["type"]).endswith("google.rpc.RetryInfo"):
                for number, value in _fields(packed):
                    if number == 1 and isinstance(value, bytes):
                        duration = dict(_fields(value))
                        retry_after = float(int(duration.get(1, 0))) + int(duration.get(2, 0)) / 1e9
        except (KeyError, TypeError, ValueError, IndexError):
            continue  # details that cannot be read say nothing
    code = str(error.get("code") or otherwise).upper()
    return RpcError(
        {"CANCELED": "CANCELLED"}.get(code, code),
        str(error.get("message") or ""),
        reason=reason,
        app=app,
        retry_after=retry_after,
    )


def _fields(packed: bytes) -> Iterator[tuple[int, Any]]:
    """The fields of a protobuf message: a number for each varint, bytes for what has a length."""
    at = 0

    def varint() -> int:
        nonlocal at
        value = shift = 0
        while True:
            byte = packed[at]
            at += 1
            value |= (byte & 0x7F) << shift
            shift += 7
            if byte < 0x80:
                return value
            if shift > 63:
                raise ValueError("a varint is too long")

    while at < len(packed):
        tag = varint()
        if tag & 7 == 0:
            yield tag >> 3, varint()
        elif tag & 7 == 2:
            length = varint()
            if at + length > len(packed):
                raise ValueError("a field is cut off")
            yield tag >> 3, packed[at : at + length]
            at += length
        elif tag & 7 in (1, 5):
            at += 8 if tag & 7 == 1 else 4
        else:
            raise ValueError("a wire type that is not known")
