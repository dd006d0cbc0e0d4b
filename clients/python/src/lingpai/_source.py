from __future__ import annotations

import calendar
import copy
import re
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from itertools import repeat
from typing import TYPE_CHECKING, Any, NamedTuple, Optional, TypeVar, Union

from ._errors import Closed, LingpaiError, NoToken, Rejected, RpcError
from ._token import Token

if TYPE_CHECKING:
    from ._client import Client

T = TypeVar("T")

#: A source looks whether its process was forked at every so many reads: hooks are not run everywhere (uWSGI).
_READS = 64


class Report(NamedTuple):
    """What a report came to."""

    #: REFRESHED, JOINED, ALREADY_NEWER, STILL_VALID, or NEWER_HELD where the broker was not asked, since a newer token is held.
    #: UNKNOWN: the broker said something that this library does not know.
    outcome: str
    #: The token to use now.
    token: Token


class Source:
    """One app's token, always the newest that is known. Its methods may be called from any thread."""

    __slots__ = ("_client", "_generation", "_held", "_listeners", "_now", "_refused", "_reports", "app")

    def __init__(self, app: str, client: Client) -> None:
        #: The WeChat app id.
        self.app = app
        self._client = client
        # What is read without a lock: replaced as a whole.
        self._held: Union[Token, LingpaiError] = NoToken(app, "WAITING")
        # The token for so many reads, after which ``_look`` renews it. Nothing else is as fast.
        self._now: Iterator[Token] = iter(())
        self._generation = 0
        self._reports: dict[int, Future[Report]] = {}
        self._refused: Optional[tuple[int, float, RpcError]] = None
        # Replaced as a whole too: who goes through it may have it changed meanwhile.
        self._listeners: frozenset[Callable[[], None]] = frozenset()

    def token(self) -> Token:
        """The newest token, from memory: no lock, no call (R1). Ask for it at each use. Raises NoToken, which has the reason, or Closed."""
        for token in self._now:
            return token
        return self._look()

    def __call__(self) -> str:
        """The newest token's value. Raises NoToken or Closed."""
        return self.token().value

    def call(self, business: Callable[[str], T]) -> T:
        """Makes a business call with the newest token's value (R12).

        If it raises Rejected, the token is reported to the broker, and with a newer one the call is made once more. Where none came
        (WeChat accepts the token, or the broker cannot replace it now) its own error is raised. It is called at most twice. The report takes at
        most 10 s; a COOLDOWN is not waited out. Raises NoToken or Closed where there is no token.
        """
        used = self.token()
        try:
            return business(used.value)
        except Rejected:
            newest = self._after(used, self._report(used))
            if newest is None:
                raise
        return business(newest.value)

    def report(self, refused: Token) -> Report:
        """Tells the broker that WeChat refused a token of this source. Callers that report one generation share one report (R11).

        Raises RpcError where the broker cannot replace it now, COOLDOWN for one; the token is kept, and until ``retry_after`` is over (at most
        300 s) the same error is the answer. Raises NoToken where the broker has none any more, Closed.
        """
        return self._result(self._report(refused))

    def updates(self, timeout: Optional[float] = None) -> Iterator[Token]:
        """The newest token each time that there is another: of several that came meanwhile only the last.

        It begins with the one held. It ends when the client is closed, or when nothing new has come for ``timeout`` seconds.
        """
        changed = threading.Event()
        last = ""
        try:
            while True:
                self._client._look_at_pid()
                if changed.set not in self._listeners:  # at first, and in a child of fork, where the old event may be locked for good
                    changed = threading.Event()
                    self._listen(changed.set)
                held = self._held
                if isinstance(held, Closed):
                    return
                if isinstance(held, Token) and held.id != last:
                    last = held.id
                    yield held
                elif not changed.wait(timeout):
                    return
                changed.clear()
        finally:
            self._unlisten(changed.set)

    # What follows is for the client. State is changed under its lock, which in a child of fork is another: it is asked to look first.

    def _listen(self, listener: Callable[[], None]) -> None:
        """Has a function called at each change, under the lock. It must not raise."""
        self._client._look_at_pid()
        with self._client._lock:
            self._listeners |= {listener}

    def _unlisten(self, listener: Callable[[], None]) -> None:
        self._client._look_at_pid()
        with self._client._lock:
            self._listeners -= {listener}

    def _look(self) -> Token:
        """A read that looks whether the process was forked, and whether the token's life is over: its timer may be late."""
        self._client._look_at_pid()
        while True:
            held = self._held
            if not isinstance(held, Token):
                self._now = iter(())  # what was put here below, just before another thread took the token away
                raise self._fresh(held)
            if held._is_over(time.monotonic()):
                self._expire()
                continue
            self._now = repeat(held, _READS)
            if self._held is held:  # else another thread may have put a newer one there just before
                return held

    def _fresh(self, held: Union[Token, LingpaiError]) -> LingpaiError:
        # Made where it is read: one exception raised by many threads would gather their tracebacks.
        return NoToken(self.app, held.reason, held.words) if isinstance(held, NoToken) else Closed()

    def _result(self, report: Future[Report]) -> Report:
        error = report.exception()
        if error is not None:
            raise copy.copy(error)  # raised by many threads, one error would gather their tracebacks
        return report.result()

    def _after(self, used: Token, report: Future[Report]) -> Optional[Token]:
        """The token to call once more with, if there is one, once a report is over: its answer was taken, if it had one."""
        report.exception()
        held = self._held
        return held if isinstance(held, Token) and held.generation > used.generation else None

    def _report(self, refused: Token) -> Future[Report]:
        """A report's answer, to come: a Report, an RpcError, NoToken or Closed."""
        self._client._look_at_pid()
        done: Future[Report] = Future()
        with self._client._lock:
            held = self._held
            if isinstance(held, Token) and held.generation > refused.generation:
                done.set_result(Report("NEWER_HELD", held))
                return done
            shared = self._reports.get(refused.generation)
            if shared is not None:
                return shared
            before = self._refused
            if before is not None and before[0] == refused.generation and time.monotonic() < before[1]:
                done.set_exception(before[2])
                return done
            self._reports[refused.generation] = done
        try:
            if not self._client._spawn("lingpai-report", lambda: self._force_refresh(refused, done)):
                self._settle(refused, done, Closed())
        except RuntimeError as error:
            self._settle(refused, done, RpcError("UNAVAILABLE", f"the token was not reported: {error}"))
        return done

    def _force_refresh(self, refused: Token, done: Future[Report]) -> None:
        client = self._client
        result: Union[Report, LingpaiError]
        try:
            answer = client._unary("ForceRefresh", {"appId": self.app, "rejectedToken": refused.value})
            outcome = _OUTCOMES.get(answer.get("outcome"), "UNKNOWN")
            client._queue({"type": "report", "app": self.app, "outcome": outcome})
            self._keep(answer.get("state"), answer.get("serverTime"))
            held = self._held
            result = Report(outcome, held) if isinstance(held, Token) else self._fresh(held)
        except Closed as error:
            result = error
        except Exception as thrown:
            result = copy.copy(error_of(thrown))  # without its traceback, whose frames have the key
            wait = min(result.retry_after, client._settings.timing.retry_cap)
            if wait > 0:
                self._refused = (refused.generation, time.monotonic() + wait, result)
            client._queue_error("report", result, wait)
        self._settle(refused, done, result)
        client._tell_queued()  # the last: who is told may report too, and would wait for what this thread has not settled

    def _settle(self, refused: Token, done: Future[Report], result: Union[Report, LingpaiError]) -> None:
        with self._client._lock:
            if done.done():
                return  # by close
            if self._reports.get(refused.generation) is done:
                del self._reports[refused.generation]
            if isinstance(result, Report):
                done.set_result(result)
            else:
                done.set_exception(result)

    def _known(self) -> Optional[int]:
        held = self._held
        return held.generation if isinstance(held, Token) else None

    def _stats(self) -> dict[str, str]:
        held = self._held
        generation = str(self._generation)
        if isinstance(held, Token):
            return {"state": "HELD", "generation": generation, "tokenId": held.id, "reason": ""}
        reason = held.reason if isinstance(held, NoToken) else ""
        state = "WAITING" if reason == "WAITING" else "NONE"
        return {"state": state, "generation": generation, "tokenId": "", "reason": reason}

    def _take(self, state: Any, server_time: Any) -> None:
        """Takes a state that the broker told, unless it is older than what is held (R2). Raises RpcError where it makes no sense (R18)."""
        self._keep(state, server_time)
        self._client._tell_queued()

    def _keep(self, state: Any, server_time: Any) -> None:
        """As ``_take``, and nobody is told yet."""
        if not isinstance(state, dict):
            return
        now = time.monotonic()
        try:
            generation, server_now = _unsigned(state.get("generation")), _seconds(server_time)
            if server_now is None:
                server_now = time.time()
            before = _token(state.get("previous"), 0, now, server_now)
            token = _token(state.get("current"), generation, now, server_now, before)
        except ValueError as error:
            # Without an ``app``, which would say that a Get found it known (R10).
            raise RpcError("INTERNAL", f"a state of {self.app} makes no sense: {error}") from None
        words = str(state.get("statusReason") or "")
        is_over = token._is_over(now) if token is not None else state.get("status") in ("TOKEN_STATUS_EXPIRED", 4)
        with self._client._lock:
            if generation < self._generation or isinstance(self._held, Closed):
                return
            self._generation = generation
            if token is None or is_over:
                self._set(NoToken(self.app, "EXPIRED" if is_over else "PENDING", words))
                return
            if token.expires_at is not None:
                self._client._expect(token.expires_at, self)
            self._set(token)

    def _expire(self) -> None:
        """Ends the life of the token, if it is over by now (R3)."""
        with self._client._lock:
            if isinstance(self._held, Token) and self._held._is_over(time.monotonic()):
                self._set(NoToken(self.app, "EXPIRED"))
        self._client._tell_queued()

    def _drop(self, reason: str, words: str = "") -> None:
        """There is no token, for a reason that is not a state. Once the app was removed, any generation is taken."""
        with self._client._lock:
            if isinstance(self._held, Closed):
                return
            if reason == "REMOVED":
                self._generation = 0
            self._set(NoToken(self.app, reason, words))
        self._client._tell_queued()

    def _close(self) -> None:
        with self._client._lock:
            self._put(Closed())
            # A report's thread may hang, in the resolver for one: who waits for it does not.
            reports, self._reports = self._reports, {}
            for done in reports.values():
                done.set_exception(Closed())
            for listener in self._listeners:
                listener()

    def _put(self, held: Union[Token, LingpaiError]) -> None:
        self._held = held
        self._now = iter(())  # the next read looks

    def _set(self, held: Union[Token, LingpaiError]) -> None:
        before = self._stats()
        self._put(held)
        now = self._stats()
        if now == before:
            return
        self._client._queue({"type": "state", "app": self.app, **now})
        for listener in self._listeners:
            listener()
        self._client._changed.notify_all()


_OUTCOMES: dict[Any, str] = {}
for _number, _name in enumerate(("REFRESHED", "JOINED", "ALREADY_NEWER", "STILL_VALID"), start=1):
    _OUTCOMES[_number] = _OUTCOMES[f"FORCE_REFRESH_OUTCOME_{_name}"] = _name


def error_of(thrown: Exception) -> RpcError:
    """What a call raised, as an error of the broker's."""
    return thrown if isinstance(thrown, RpcError) else RpcError("UNKNOWN", f"{type(thrown).__name__}: {thrown}")


def _token(token: Any, generation: int, now: float, server_now: float, before: Optional[Token] = None) -> Optional[Token]:
    """A token as the broker tells it; None where it tells none. Raises ValueError."""
    if not isinstance(token, dict):
        return None
    value = str(token.get("value") or "")
    if not 1 <= len(value) <= 2048:
        raise ValueError(f"a token of {len(value)} characters")
    expires = _seconds(token.get("expireTime"))
    return Token(value, generation, None if expires is None else now + expires - server_now, before)


def _unsigned(number: Any) -> int:
    """A generation of protobuf's JSON. Raises ValueError."""
    try:
        value = int(number or 0)
    except (TypeError, ValueError, OverflowError):
        value = -1
    if not 0 <= value < 1 << 64:
        raise ValueError("a generation that is no number of 64 bits")
    return value


_TIME = re.compile(r"(\d{4})-(\d\d)-(\d\d)T(\d\d):(\d\d):(\d\d)(\.\d{1,9})?Z")


def _seconds(time_: Any) -> Optional[float]:
    """Seconds of a time of protobuf's JSON; None where none is said. Raises ValueError."""
    if time_ is None:
        return None
    match = _TIME.fullmatch(time_) if isinstance(time_, str) else None
    if match is None:
        raise ValueError("a time that cannot be read")
    parts = [int(part) for part in match.groups()[:6]]
    return calendar.timegm((*parts, 0, 1, 0)) + float(match.group(7) or 0)
