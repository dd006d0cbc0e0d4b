from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

#: A token in an address, plain or quoted within another.
_TOKEN = re.compile(r"(access_token(?:=|%3D))[^&\s'\")>]+", re.IGNORECASE)


@contextmanager
def hushed() -> Iterator[None]:
    """Takes access_tokens out of the words of what is raised within: an SDK's error of a call that failed has the address, token and all."""
    try:
        yield
    except Exception as error:
        _hush(error, set())
        raise


def _hush(error: BaseException, seen: set[int]) -> None:
    if id(error) in seen:
        return
    seen.add(id(error))
    error.args = tuple(_without_token(arg) for arg in error.args)
    errmsg = getattr(error, "errmsg", None)  # which wechatpy prints
    if isinstance(errmsg, str):
        error.errmsg = _without_token(errmsg)  # type: ignore[attr-defined]
    for other in (*error.args, error.__cause__, error.__context__):
        if isinstance(other, BaseException):
            _hush(other, seen)


def _without_token(words: Any) -> Any:
    return _TOKEN.sub(r"\1***", words) if isinstance(words, str) else words
