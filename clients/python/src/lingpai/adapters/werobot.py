"""werobot with the tokens of a Lingpai broker: ``use_lingpai(robot, client.app("wx..."))``, or a ``LingpaiClient`` of its own."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

from werobot.client import Client, ClientException

from .._errors import is_rejection
from .._source import Source
from ._hush import hushed
from ._refusal import Files, cured, granted, is_ours

#: The longest answer, in bytes, in which an errcode is looked for: one that has an errcode is short.
_LONGEST = 4096


class LingpaiClient(Client):
    """A client of werobot that has its token from the broker, and no AppSecret.

    A token that WeChat refused (40001, 40014, 42001) is reported, and the call made once more with the newer one; a file is sent again from
    where it was. Where none came, the error of werobot is raised as it is, or what WeChat answered is returned by the three calls that
    return answers as they are. No error says a token. Where there is no token a call raises lingpai.NoToken.
    """

    def __init__(self, source: Source) -> None:
        super().__init__({"APP_ID": source.app})
        self._source = source

    def get_access_token(self) -> str:
        """The token that is held, from memory. Raises NoToken or Closed."""
        return self._source()

    def grant_token(self) -> dict[str, Any]:
        """The token that is held: nothing is asked of WeChat."""
        return granted(self._source.token())

    def request(self, method: str, url: str, **kwargs: Any) -> Any:
        params = kwargs.pop("params", None)
        if params is not None and not is_ours(self._source, params.get("access_token")):
            with hushed():
                return super().request(method, url, params=params, **kwargs)

        def send(token: str) -> Any:
            return super(LingpaiClient, self).request(method, url, params={**(params or {}), "access_token": token}, **kwargs)

        return cured(self._source, Files(kwargs), send, _errcode_of)

    # These ask without ``request``, and return WeChat's answer as it is.

    def download_media(self, media_id: str) -> Any:
        return self._answer(lambda: super(LingpaiClient, self).download_media(media_id))

    def download_permanent_media(self, media_id: str) -> Any:
        return self._answer(lambda: super(LingpaiClient, self).download_permanent_media(media_id))

    def upload_permanent_video(self, title: str, introduction: str, video: Any) -> Any:
        return self._answer(lambda: super(LingpaiClient, self).upload_permanent_video(title, introduction, video), video)

    def _answer(self, ask: Callable[[], Any], file: Any = None) -> Any:
        def send(_token: str) -> Any:
            answer = ask()  # it takes the token by itself
            if is_rejection(_errcode_in(answer)):
                raise _RefusedError(answer)
            return answer

        try:
            return cured(self._source, Files({"data": file}), send, _errcode_of)
        except _RefusedError as refused:
            return refused.answer


def use_lingpai(robot: Any, source: Source) -> LingpaiClient:
    """Gives a WeRoBot, before its first call of WeChat, a ``LingpaiClient``, which is ``robot.client`` from then on; it is returned."""
    client = LingpaiClient(source)
    robot._client = client  # where its property keeps it
    used: object = robot.client
    if used is not client:
        raise TypeError("this version of werobot keeps its client elsewhere: make a LingpaiClient and use that")
    return client


class _RefusedError(Exception):
    def __init__(self, answer: Any) -> None:
        super().__init__()
        self.answer = answer


def _errcode_of(error: Exception) -> object:
    if isinstance(error, _RefusedError):
        return _errcode_in(error.answer)
    code = str(error).partition(":")[0]  # werobot has it in the words only
    return int(code) if isinstance(error, ClientException) and code.isdigit() else None


def _errcode_in(answer: Any) -> object:
    if len(answer.content) > _LONGEST:
        return None
    try:
        parsed = json.loads(answer.content)
    except ValueError:
        return None
    return parsed.get("errcode") if isinstance(parsed, dict) else None
