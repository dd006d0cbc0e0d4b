from __future__ import annotations

import calendar
import re
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future
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
    outcome: str
    #: The token to use now.
    token: Token


class Source:
    """One app's token, always the newest that is known. Its methods may be called from any thread."""

    def __init__(self, app: str, client: Client) -> None:
        #: The WeChat app id.
        self.app = app
        self._client = client
        # What is read without a lock: replaced as a whole.
        self._held: Union[Token, LingpaiError] = NoToken(app, "WAITING")
        self._reads = _READS
        self._generation = 0
        self._expires: Optional[float] = None
        self._reports: dict[int, Future[Report]] = {}
        self._refused: Optional[tuple[int, float, Exception]] = None
        self._listeners: set[Callable[[], None]] = set()

    def token(self) -> Token:
        """The newest token, from memory. Raises NoToken or Closed."""
        self._reads -= 1
        if self._reads < 0:
            self._reads = _READS
            self._client._look_at_pid()
        held = self._held
        if held.__class__ is Token:
            return held
        raise self._fresh(held)

    def __call__(self) -> str:
        """The newest token's value. Raises NoToken or Closed."""
        return self.token().value

    def call(self, business: Callable[[str], T]) -> T:
        """Makes a business call with the newest token's value.

        If it raises Rejected, the token is reported to the broker, and with a newer one the call is made once more. Where none came
        (WeChat accepts the token, or the broker cannot replace it now) its own error is raised. It is called at most twice. Raises NoToken or
        Closed where there is no token.
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
        """Tells the broker that WeChat refused a token of this source. Callers that report one generation share one report.

        Raises RpcError where the broker cannot replace it now, COOLDOWN for one; the token is kept.
        """
        return self._report(refused).result()

    def updates(self, timeout: Optional[float] = None) -> Iterator[Token]:
        """The newest token each time that there is another: of several that came meanwhile only the last.

        It begins with the one held. It ends when the client is closed, or when nothing new has come for ``timeout`` seconds.
        """
        changed = threading.Event()
        last = ""
        self._listeners.add(changed.set)
        try:
            while True:
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
            self._listeners.discard(changed.set)

    # What follows is for the client. State is changed under its lock.

    def _fresh(self, held: Union[Token, LingpaiError]) -> LingpaiError:
        # Made where it is read: one exception raised by many threads would gather their tracebacks.
        return NoToken(self.app, held.reason, held.words) if isinstance(held, NoToken) else Closed()

    def _after(self, used: Token, report: Future[Report]) -> Optional[Token]:
        """The token to call once more with, if there is one."""
        try:
            outcome, newest = report.result()
        except LingpaiError:
            outcome, newest = "STILL_VALID", used
        held = self._held
        if isinstance(held, Token) and held.generation > used.generation:
            return held
        return newest if outcome != "STILL_VALID" and newest.generation > used.generation else None

    def _report(self, refused: Token) -> Future[Report]:
        with self._client._lock:
            held = self._held
            done: Future[Report] = Future()
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
        if not self._client._spawn("lingpai-report", lambda: self._force_refresh(refused, done)):
            self._settle(refused, done, Closed())
        return done

    def _force_refresh(self, refused: Token, done: Future[Report]) -> None:
        try:
            answer = self._client._unary("ForceRefresh", {"appId": self.app, "rejectedToken": refused.value})
            outcome = str(answer.get("outcome", "")).replace("FORCE_REFRESH_OUTCOME_", "", 1)
            self._client._tell({"type": "report", "app": self.app, "outcome": outcome})
            if isinstance(answer.get("state"), dict):
                self._take(answer["state"], answer.get("serverTime"))
            self._settle(refused, done, Report(outcome, self.token()))
        except RpcError as error:
            if error.retry_after > 0:
                wait = min(error.retry_after, self._client._settings.timing.retry_cap)
                self._refused = (refused.generation, time.monotonic() + wait, error)
            self._client._tell_error("report", error, 0.0)
            self._settle(refused, done, error)
        except BaseException as error:
            self._settle(refused, done, error)

    def _settle(self, refused: Token, done: Future[Report], result: Union[Report, BaseException]) -> None:
        with self._client._lock:
            self._reports.pop(refused.generation, None)
        if isinstance(result, BaseException):
            done.set_exception(result)
        else:
            done.set_result(result)

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

    def _take(self, state: dict[str, Any], server_time: Any) -> None:
        """Takes a state that the broker told, unless it is older than what is held."""
        self._keep(state, server_time)
        self._client._tell_queued()

    def _keep(self, state: dict[str, Any], server_time: Any) -> None:
        generation = _unsigned(state.get("generation"))
        current = state.get("current")
        words = str(state.get("statusReason") or "")
        with self._client._lock:
            if generation < self._generation or isinstance(self._held, Closed):
                return
            self._generation = generation
            self._expires = None
            if not isinstance(current, dict):
                is_over = state.get("status") in ("TOKEN_STATUS_EXPIRED", 4)
                self._set(NoToken(self.app, "EXPIRED" if is_over else "PENDING", words))
                return
            expire, now = _seconds(current.get("expireTime")), _seconds(server_time)
            if expire is not None and now is not None:
                if expire <= now:
                    self._set(NoToken(self.app, "EXPIRED", words))
                    return
                self._expires = time.monotonic() + expire - now
                self._client._expect(self._expires, self)
            older = state.get("previous")
            previous = _token(older, max(0, generation - 1)) if isinstance(older, dict) else None
            self._set(_token(current, generation, previous))

    def _expire(self) -> None:
        """Ends the life of the token, if it is over by now."""
        with self._client._lock:
            if self._expires is not None and self._expires <= time.monotonic():
                self._expires = None
                self._set(NoToken(self.app, "EXPIRED"))
        self._client._tell_queued()

    def _drop(self, reason: str) -> None:
        """There is no token, for a reason that is not a state. Once the app was removed, any generation is taken."""
        with self._client._lock:
            if isinstance(self._held, Closed):
                return
            if reason == "REMOVED":
                self._generation = 0
            self._expires = None
            self._set(NoToken(self.app, reason))
        self._client._tell_queued()

    def _close(self) -> None:
        with self._client._lock:
            self._held, self._expires = Closed(), None
        for listener in list(self._listeners):
            listener()

    def _set(self, held: Union[Token, LingpaiError]) -> None:
        before = self._stats()
        self._held = held
        now = self._stats()
        if now == before:
            return
        self._client._queue({"type": "state", "app": self.app, **now})
        for listener in list(self._listeners):
            listener()
        self._client._changed.notify_all()


def _token(token: dict[str, Any], generation: int, previous: Optional[Token] = None) -> Token:
    value = str(token.get("value") or "")
    if not 1 <= len(value) <= 2048:
        raise RpcError("INTERNAL", f"a token of {len(value)} characters")
    return Token(value, str(token.get("id") or ""), generation, previous)


def _unsigned(number: Any) -> int:
    try:
        value = int(number or 0)
    except (TypeError, ValueError):
        value = -1
    if not 0 <= value < 1 << 64:
        raise RpcError("INTERNAL", "a generation that is no number of 64 bits")
    return value


_TIME = re.compile(r"(\d{4})-(\d\d)-(\d\d)T(\d\d):(\d\d):(\d\d)(\.\d{1,9})?Z")


def _seconds(time_: Any) -> Optional[float]:
    """Seconds of a time of protobuf's JSON; None where there is none."""
    match = _TIME.fullmatch(time_) if isinstance(time_, str) else None
    if match is None:
        return None
    parts = [int(part) for part in match.groups()[:6]]
    return calendar.timegm((*parts, 0, 1, 0)) + float(match.group(7) or 0)
