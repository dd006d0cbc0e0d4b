from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from concurrent.futures import Future
from types import TracebackType
from typing import TYPE_CHECKING, Any, Optional, TypeVar

from ._client import Client
from ._errors import Closed, Rejected
from ._options import Options
from ._source import Report, Source
from ._token import Token

if TYPE_CHECKING:
    from typing_extensions import Unpack

T = TypeVar("T")


class AsyncSource:
    """One app's token for asyncio: reads are immediate, as ``Source``'s are, and calls are awaited."""

    def __init__(self, source: Source) -> None:
        self._source = source
        #: The WeChat app id.
        self.app = source.app

    def token(self) -> Token:
        """The newest token, from memory (R1). Ask for it at each use. Raises NoToken or Closed."""
        return self._source.token()

    def __call__(self) -> str:
        """The newest token's value. Raises NoToken or Closed."""
        return self._source()

    async def call(self, business: Callable[[str], Awaitable[T]]) -> T:
        """As ``Source.call``, for a business call that is awaited. Who is cancelled leaves a report to those that share it."""
        used = self._source.token()
        try:
            return await business(used.value)
        except Rejected:
            report = self._source._report(used)
            await _done(report)
            newest = self._source._after(used, report)
            if newest is None:
                raise
        return await business(newest.value)

    async def report(self, refused: Token) -> Report:
        """As ``Source.report``."""
        report = self._source._report(refused)
        await _done(report)
        return self._source._result(report)

    async def updates(self) -> AsyncIterator[Token]:
        """As ``Source.updates``, without an end until the client is closed."""
        loop = asyncio.get_running_loop()
        changed = asyncio.Event()

        def listener() -> None:
            try:
                loop.call_soon_threadsafe(changed.set)
            except RuntimeError:  # the loop was closed, and nobody closed this generator
                self._source._unlisten(listener)

        last = ""
        self._source._listen(listener)
        try:
            while True:
                changed.clear()
                held = self._source._held
                if isinstance(held, Closed):
                    return
                if isinstance(held, Token) and held.id != last:
                    last = held.id
                    yield held
                else:
                    await changed.wait()
        finally:
            self._source._unlisten(listener)


async def _done(report: Future[Report]) -> None:
    """Waits until a report is over. Raises nothing of it."""
    answer = asyncio.wrap_future(report)
    # asyncio logs an error that nobody has asked for, as where the caller was cancelled.
    answer.add_done_callback(lambda over: over.cancelled() or over.exception())
    await asyncio.wait([answer])


class AsyncClient:
    """``Client`` for asyncio: the same options, and the same thread underneath. Use it by ``async with``, which raises what ``Client`` does."""

    def __init__(self, target: str, *, apps: Sequence[str], **options: Unpack[Options]) -> None:
        self._target = target
        self._apps = apps
        self._options = options
        self._client: Optional[Client] = None

    async def __aenter__(self) -> AsyncClient:
        options = self._options.copy()
        options["start_optional"] = True  # it is waited for here, where the wait can be cancelled
        self._client = Client(self._target, apps=self._apps, **options)
        try:
            if not self._options.get("start_optional", False):
                await asyncio.to_thread(self._client._wait_for_start)
        except BaseException:  # cancelled too: nothing is left behind
            await self.close()
            raise
        return self

    async def __aexit__(self, kind: Optional[type[BaseException]], error: Optional[BaseException], trace: Optional[TracebackType]) -> None:
        await self.close()

    def app(self, app: str) -> AsyncSource:
        """An app's source. Raises KeyError for an app that the client was not made with."""
        return AsyncSource(self._started().app(app))

    def stats(self) -> dict[str, Any]:
        """As ``Client.stats``."""
        return self._started().stats()

    async def close(self) -> None:
        """As ``Client.close``."""
        if self._client is not None:
            await asyncio.to_thread(self._client.close)

    def _started(self) -> Client:
        if self._client is None:
            raise RuntimeError("the client is not started: use it by async with")
        return self._client
