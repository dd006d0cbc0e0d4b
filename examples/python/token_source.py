"""Keeps the newest WeChat access_token of one app, as a Lingpai broker pushes it."""

import asyncio
import random
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import TypeVar

import grpc
from failure import explain
from lingpai.v1 import token_pb2 as pb
from lingpai.v1.token_pb2_grpc import TokenServiceStub

Result = TypeVar("Result")

CALL_TIMEOUT = 10.0  # seconds
BACKOFF_BASE, BACKOFF_MAX = 0.5, 10.0  # seconds


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

    def __init__(self, stub: TokenServiceStub, app_id: str, silence: float, observe: Callable[..., None]) -> None:
        """`silence`: for how many seconds a stream may say nothing, 2.5 times the broker's heartbeat.
        `observe(event, **fields)` is told of what happens, never of a token's value."""
        self._stub = stub
        self._app_id = app_id
        self._silence = silence
        self._observe = observe
        self._state: pb.TokenState | None = None
        self._failures = 0

    def token(self) -> Token:
        """The newest token. Raises NoToken."""
        state = self._state or pb.TokenState()
        if not state.HasField("current"):
            raise NoToken(f"no token of {self._app_id}: {_name(pb.TokenStatus, state.status)} {state.status_reason}")
        return Token(state.current.value, state.current.id, state.generation)

    async def load(self) -> None:
        """Asks for the token once, so that a service starts with one in hand."""
        response = await self._stub.Get(pb.GetRequest(app_id=self._app_id), timeout=CALL_TIMEOUT)
        self._keep("get", response.state)

    async def call(self, business: Callable[[str], Awaitable[Result]]) -> Result:
        """Makes a business call with the newest token. When WeChat refused that token, reports it to the broker and
        repeats the business call once with the token that came instead."""
        used = self.token()
        try:
            return await business(used.value)
        except TokenRejected:
            await self._report(used)
            newer = self.token()
            if newer.generation == used.generation:
                raise  # the token is good (STILL_VALID): the cause lies elsewhere, and repeating would not help
        return await business(newer.value)

    async def run(self) -> None:
        """Watches the app until cancelled, reconnecting as often as it takes."""
        reconnect = False
        while True:
            try:
                pause = await self._watch(reconnect)
            except (grpc.aio.AioRpcError, StreamLost) as error:
                # Full jitter: many clients that lost one broker must not return together.
                pause = random.uniform(0, min(BACKOFF_MAX, BACKOFF_BASE * 2 ** min(self._failures, 10)))
                self._failures += 1
                failure = explain(error)
                pause = max(pause, failure.retry_after)
                self._observe("error", **failure.fields("watch", retry_in=pause))
            await asyncio.sleep(pause)
            reconnect = True

    async def _watch(self, reconnect: bool) -> float:
        """Reads one stream until a goaway and returns the pause that the broker asks for; raises on any other end."""
        known = {self._app_id: self._state.generation} if self._state and self._state.HasField("current") else {}
        stream = self._stub.WatchToken(pb.WatchTokenRequest(app_ids=[self._app_id], known_generations=known))
        try:
            while True:
                message = await self._read(stream)
                self._failures = 0
                if reconnect:
                    sent_state = message.HasField("state")
                    self._observe("reconnect", known_generation=known.get(self._app_id, 0), sent_state=sent_state)
                    reconnect = False
                match message.WhichOneof("event"):
                    case "state":
                        self._keep("state", message.state)
                    case "removed":
                        self._state = None
                        self._observe("removed", app=self._app_id)
                    case "goaway":
                        pause = message.goaway.reconnect_after.ToTimedelta().total_seconds()
                        self._observe("goaway", reconnect_after_ms=round(pause * 1000))
                        return pause
        finally:
            stream.cancel()

    async def _read(self, stream: grpc.aio.UnaryStreamCall) -> pb.WatchTokenResponse:
        try:
            message = await asyncio.wait_for(stream.read(), self._silence)
        except TimeoutError:
            raise StreamLost("nothing came for so long that the stream must be dead") from None
        if message is grpc.aio.EOF:
            raise StreamLost("the stream ended")
        return message

    async def _report(self, refused: Token) -> None:
        request = pb.ForceRefreshRequest(app_id=self._app_id, rejected_token=refused.value)
        response = await self._stub.ForceRefresh(request, timeout=CALL_TIMEOUT)
        outcome = _name(pb.ForceRefreshOutcome, response.outcome)
        self._observe("force_refresh", outcome=outcome, rejected_id=refused.id)
        self._keep("state", response.state)

    def _keep(self, event: str, state: pb.TokenState) -> None:
        """Replaces what is held, but never by an older generation: answers may overtake one another."""
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
    """An enum's value without its prefix: FRESH, STILL_VALID."""
    return enum.Name(value).removeprefix("TOKEN_STATUS_").removeprefix("FORCE_REFRESH_OUTCOME_")
