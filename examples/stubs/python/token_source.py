"""Keeps the newest WeChat access_token of one app, as a Lingpai broker pushes it."""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import TypeVar

import grpc
from backoff import GOAWAY_MAX, PAUSE_MIN, RETRY_MAX, Backoff
from failure import NoCredential, explain
from lingpai.v1 import token_pb2 as pb
from lingpai.v1.token_pb2_grpc import TokenServiceStub

Result = TypeVar("Result")

CALL_TIMEOUT = 10.0  # seconds


@dataclass(frozen=True)
class Token:
    """One access_token. `value` is a secret, so repr leaves it out; `id` names the token in logs."""

    value: str = field(repr=False)
    id: str
    generation: int


class TokenRejected(Exception):
    """What a business call raises when WeChat answers errcode 40001, 40014 or 42001."""


class NoToken(Exception):
    """There is no token at the moment; the message says why."""


class StreamLost(Exception):
    """A watch that ended without an error, or went silent."""


class TokenSource:
    """Always holds the newest token of one app. Belongs to one event loop."""

    def __init__(
        self, dial: Callable[[], grpc.aio.Channel], app_id: str, silence: float, observe: Callable[..., None]
    ) -> None:
        """`dial` makes a new connection to the broker. Each stream and each call has one of its own: one that is open
        and passes nothing any more, as behind a middle box that forgot it, is then never used again. `silence`: for how
        many seconds a stream may say nothing, 2.5 times the broker's heartbeat. `observe(event, **fields)` is told of
        what happens, never of a token's value."""
        self._dial = dial
        self._app_id = app_id
        self._silence = silence
        self._observe = observe
        self._state: pb.TokenState | None = None
        self._opened: float | None = None  # when the first message of this stream came
        self._reports: dict[int, asyncio.Task[bool]] = {}  # under way, by generation
        self._refused = (0, 0.0)  # the generation of the last report that the broker refused, and until when to wait

    def token(self) -> Token:
        """The newest token. Raises NoToken."""
        state = self._state or pb.TokenState()
        if not state.HasField("current"):
            raise NoToken(f"no token of {self._app_id}: {_name(pb.TokenStatus, state.status)} {state.status_reason}")
        return Token(state.current.value, state.current.id, state.generation)

    async def load(self) -> None:
        """Asks for the token once, so that a service starts with one in hand."""
        async with self._dial() as channel:
            request = pb.GetRequest(app_id=self._app_id)
            response = await TokenServiceStub(channel).Get(request, timeout=CALL_TIMEOUT)
        self._keep("get", response.state)

    async def call(self, business: Callable[[str], Awaitable[Result]]) -> Result:
        """Makes a business call with the newest token. When WeChat refused that token, reports it to the broker and
        repeats the business call once with the token that came instead. When none came, the refusal is raised: the
        token is good (STILL_VALID) and the cause lies elsewhere, or the broker cannot replace it now."""
        used = self.token()
        try:
            return await business(used.value)
        except TokenRejected:
            if not await self._report(used) or not self._newer_than(used):
                raise
        return await business(self.token().value)

    async def run(self) -> None:
        """Watches the app until cancelled, reconnecting as often as it takes."""
        pauses = Backoff()
        now = asyncio.get_running_loop().time
        reconnect = False
        while True:
            self._opened = None
            try:
                pause = await self._watch(reconnect)
            except (grpc.aio.AioRpcError, NoCredential, StreamLost) as error:
                # It lived for a heartbeat: 10 s of 25.
                lived = self._opened is not None and now() - self._opened >= 0.4 * self._silence
                if lived:
                    pauses.failures = 0
                failure = explain(error)
                pause = pauses.after(failure, lived)
                fields = failure.fields("watch", retry_in=pause)
                self._observe("error", **fields, failures=pauses.failures)
            await asyncio.sleep(pause)
            reconnect = True

    async def _watch(self, reconnect: bool) -> float:
        """Reads one stream until a goaway and returns the pause that the broker asks for; raises on any other end."""
        known = {self._app_id: self._state.generation} if self._state and self._state.HasField("current") else {}
        request = pb.WatchTokenRequest(app_ids=[self._app_id], known_generations=known)
        async with self._dial() as channel:
            stream = TokenServiceStub(channel).WatchToken(request)
            while True:
                message = await self._read(stream)
                if self._opened is None:
                    self._opened = asyncio.get_running_loop().time()
                    if reconnect:
                        sent_state = message.HasField("state")
                        self._observe("reconnect", known_generation=known.get(self._app_id, 0), sent_state=sent_state)
                match message.WhichOneof("event"):
                    case "state":
                        self._keep("state", message.state)
                    case "removed":
                        self._state = None
                        self._observe("removed", app=self._app_id)
                    case "goaway":
                        asked = message.goaway.reconnect_after.ToTimedelta().total_seconds()
                        pause = max(PAUSE_MIN, min(asked, GOAWAY_MAX))
                        self._observe("goaway", reconnect_after_ms=round(pause * 1000))
                        return pause

    async def _read(self, stream: grpc.aio.UnaryStreamCall) -> pb.WatchTokenResponse:
        try:
            async with asyncio.timeout(self._silence):
                message = await stream.read()
        except TimeoutError:
            raise StreamLost("nothing came for so long that the stream must be dead") from None
        if message is grpc.aio.EOF:
            raise StreamLost("the stream ended")
        return message

    async def _report(self, used: Token) -> bool:
        """Tells the broker that WeChat refused a token, and returns whether there is another to use instead. All callers
        with one token share one report."""
        report = self._reports.get(used.generation)
        if report is None:
            report = self._reports[used.generation] = asyncio.create_task(self._force_refresh(used))
            report.add_done_callback(lambda _: self._reports.pop(used.generation))
        return await asyncio.shield(report)

    async def _force_refresh(self, used: Token) -> bool:
        if self._newer_than(used):
            return True  # it came while the call was under way
        now = asyncio.get_running_loop().time
        generation, until = self._refused
        if generation == used.generation and now() < until:
            return False
        try:
            async with self._dial() as channel:
                request = pb.ForceRefreshRequest(app_id=self._app_id, rejected_token=used.value)
                response = await TokenServiceStub(channel).ForceRefresh(request, timeout=CALL_TIMEOUT)
        except (grpc.aio.AioRpcError, NoCredential) as error:
            # COOLDOWN, for instance: the token is kept, and reported again no sooner than the broker says.
            failure = explain(error)
            self._observe("error", **failure.fields("force_refresh"))
            self._refused = (used.generation, now() + min(failure.retry_after, RETRY_MAX))
            return False
        outcome = _name(pb.ForceRefreshOutcome, response.outcome)
        self._observe("force_refresh", outcome=outcome, rejected_id=used.id)
        self._keep("state", response.state)
        return outcome != "STILL_VALID"

    def _newer_than(self, used: Token) -> bool:
        state = self._state
        return state is not None and state.HasField("current") and state.generation > used.generation

    def _keep(self, event: str, state: pb.TokenState) -> None:
        """Replaces what is held, also by the same generation, whose status may be another now, but never by an older
        one: answers may overtake one another."""
        if self._state and state.generation < self._state.generation:
            return
        self._state = state
        self._observe(
            event,
            app=state.app_id,
            generation=state.generation,
            token_id=state.current.id,
            previous_id=state.previous.id,
            status=_name(pb.TokenStatus, state.status),
            status_reason=state.status_reason,
        )


def _name(enum, value: int) -> str:
    """An enum's value without its prefix: FRESH, STILL_VALID. A number when a later broker added it."""
    if value not in enum.values():
        return str(value)
    return enum.Name(value).removeprefix("TOKEN_STATUS_").removeprefix("FORCE_REFRESH_OUTCOME_")
