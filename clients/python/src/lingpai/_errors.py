from __future__ import annotations

from collections.abc import Sequence
from typing import Optional


class LingpaiError(Exception):
    """What this library raises is one of these."""


class NoToken(LingpaiError):
    """A read found no token. ``reason``: WAITING, PENDING, EXPIRED, REMOVED or NOT_FOUND; SPEC.md has what each means."""

    def __init__(self, app: str, reason: str, words: str = "") -> None:
        super().__init__(f"no token of {app}: {reason}{f', {words}' if words else ''}")
        self.app = app
        self.reason = reason
        #: The broker's own words; empty where it has none.
        self.words = words


class StartTimeout(LingpaiError):
    """The start did not get a token of every app in time. ``apps`` have none; ``last`` is the last error, if there was one."""

    def __init__(self, apps: Sequence[str], seconds: float, last: Optional[Exception]) -> None:
        super().__init__(f"no token of {', '.join(apps)} within {seconds:g} s{f': {last}' if last else ''}")
        self.apps = list(apps)
        self.last = last


_SLOW = {"UNAUTHENTICATED", "PERMISSION_DENIED", "UNIMPLEMENTED"}


class RpcError(LingpaiError):
    """A call of the broker failed: it answered with an error, or it could not be reached.

    ``code`` is the name of the gRPC code (``UNAVAILABLE``), ``reason`` the broker's ``ErrorReason`` (``APP_NOT_FOUND``; empty where
    the error is not the broker's own), ``app`` the app that it is about (or empty), ``retry_after`` what RetryInfo asks for, in seconds (or 0).
    """

    def __init__(
        self,
        code: str,
        words: str,
        *,
        reason: str = "",
        app: str = "",
        retry_after: float = 0.0,
        needs_operator: Optional[bool] = None,
    ) -> None:
        if app and app not in words:
            words = f"{words} ({app})"
        super().__init__(": ".join(part for part in (code, reason, words) if part))
        self.code = code
        self.reason = reason
        self.app = app
        self.retry_after = retry_after
        #: Somebody must mend it: a key, a permission, an address, a certificate.
        self.needs_operator = code in _SLOW if needs_operator is None else needs_operator

    def _knows(self, app: str) -> bool:
        """Whether the broker knows the app and only has no token of it yet: its refresh failed, and that is a Get's answer (R10)."""
        return self.app == app and self.code != "NOT_FOUND" and not self.needs_operator


class Rejected(LingpaiError):
    """What a business call raises when WeChat refuses the access_token: errcode 40001, 40014 or 42001."""

    def __init__(self, errcode: int, errmsg: str = "") -> None:
        super().__init__(f"WeChat refused the access_token: errcode {errcode}{f' {errmsg}' if errmsg else ''}")
        self.errcode = errcode


def is_rejection(errcode: object) -> bool:
    """Whether an errcode of WeChat says that the access_token was refused."""
    return errcode in (40001, 40014, 42001)


class Closed(LingpaiError):
    """The client was closed."""

    def __init__(self) -> None:
        super().__init__("the client is closed")


class ConfigurationError(LingpaiError, ValueError):
    """An option is wrong; the message names it, says what is wrong, and what to write."""
