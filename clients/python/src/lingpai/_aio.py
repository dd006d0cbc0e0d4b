from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from types import TracebackType
from typing import Any, Optional, TypeVar

from ._client import Client
from ._errors import Closed, Rejected
from ._source import Report, Source
from ._token import Token

T = TypeVar("T")


class AsyncSource:
    """One app's token for asyncio: reads are immediate, as ``Source``'s are, and calls are awaited."""

    def __init__(self, source: Source) -> None:
        self._source = source
        self.app = source.app

    def token(self) -> Token:
        """The newest token, from memory. Raises NoToken or Closed."""
        return self._source.token()

    async def call(self, business: Callable[[str], Awaitable[T]]) -> T:
        """As ``Source.call``, for a business call that is awaited."""
        used = self._source.token()
        try:
            return await business(used.value)
        except Rejected:
            report = self._source._report(used)
            await asyncio.wait([asyncio.wrap_future(report)])
            newest = self._source._after(used, report)
            if newest is None:
                raise
        return await business(newest.value)

    async def report(self, refused: Token) -> Report:
        """As ``Source.report``."""
        return await asyncio.shield(asyncio.wrap_future(self._source._report(refused)))

    async def updates(self) -> AsyncIterator[Token]:
        """As ``Source.updates``, without an end until the client is closed."""
        loop = asyncio.get_running_loop()
        changed = asyncio.Event()

        def listener() -> None:
            loop.call_soon_threadsafe(changed.set)

        last = ""
        self._source._listeners.add(listener)
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
            self._source._listeners.discard(listener)


class AsyncClient:
    """``Client`` for asyncio: the same options, and the same thread underneath. Use it by ``async with``."""

    def __init__(self, target: str, **options: Any) -> None:
        self._target = target
        self._options = options
        self._client: Optional[Client] = None

    async def __aenter__(self) -> AsyncClient:
        self._client = await asyncio.to_thread(Client, self._target, **self._options)
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
