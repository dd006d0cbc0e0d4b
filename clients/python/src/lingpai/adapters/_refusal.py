from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping
from typing import Any, TypeVar

from .._errors import Rejected, is_rejection
from .._source import Source
from .._token import Token
from ._hush import hushed

T = TypeVar("T")


class Files:
    """The files of a request of ``requests``: a request that is made once more sends them from where the first did."""

    def __init__(self, request: Mapping[str, Any]) -> None:
        files = request.get("files") or {}
        parts = [part for _, part in files.items()] if isinstance(files, Mapping) else [part for _, part in files]
        bodies = [part[1] if isinstance(part, (tuple, list)) else part for part in parts] + [request.get("data")]
        self._files = [(body, _place(body)) for body in bodies if hasattr(body, "read") or hasattr(body, "__next__")]

    def rewind(self) -> bool:
        """Whether all can be sent once more: what is read out of a pipe cannot."""
        if any(place is None for _, place in self._files):
            return False
        for file, place in self._files:
            file.seek(place)
        return True


def _place(file: Any) -> Any:
    try:
        return file.tell() if file.seekable() else None
    except (AttributeError, OSError, ValueError):
        return None


def cured(source: Source, files: Files, send: Callable[[str], T], errcode_of: Callable[[Exception], object]) -> T:
    """Sends a request, and where WeChat refuses its token reports that, and sends it once more with the newer one (R12).

    Raises the SDK's own error where there is none: WeChat accepts the token, the broker cannot replace it now, or a file cannot be read again.
    """
    refusals: list[Exception] = []

    def business(token: str) -> T:
        if refusals and not files.rewind():
            raise refusals[0]
        try:
            with hushed():
                return send(token)
        except Exception as error:
            errcode = errcode_of(error)
            if not is_rejection(errcode):
                raise
            refusals.append(error)
            raise Rejected(int(str(errcode))) from None

    try:
        return source.call(business)
    except Rejected:
        refusal = refusals[-1]
    raise refusal


def is_ours(source: Source, value: object) -> bool:
    """Whether a value in a request is the broker's: another is a user's of WeChat's web login, for instance, and none of the broker's business."""
    held = source.token()
    return value == held.value or (held.previous is not None and value == held.previous.value)


def granted(token: Token) -> dict[str, Any]:
    """A token as WeChat's answer to a request for one would have it."""
    left = 7200.0 if token.expires_at is None else token.expires_at - time.monotonic()
    return {"access_token": token.value, "expires_in": max(0, math.floor(left))}
