"""wechatpy with the tokens of a Lingpai broker: ``LingpaiClient(client.app("wx..."))`` in the place of ``WeChatClient(app_id, secret)``."""

from __future__ import annotations

from typing import Any, Optional
from urllib.parse import parse_qs, quote

from wechatpy import WeChatClient

from .._source import Source
from ._hush import hushed
from ._refusal import Files, cured, granted, is_ours


class LingpaiClient(WeChatClient):
    """A WeChatClient that has its token from the broker, and no AppSecret.

    A token that WeChat refused (40001, 40014, 42001) is reported, and the call made once more with the newer one; a file is sent again from
    where it was. Where none came, the error of wechatpy is raised as it is. No error says a token.
    Where there is no token a call raises lingpai.NoToken.
    ``session`` and ``timeout`` (seconds) are wechatpy's own: what it keeps in ``session`` (jsapi tickets) has no token.
    """

    def __init__(self, source: Source, session: Any = None, timeout: Optional[float] = None) -> None:
        super().__init__(source.app, "", session=session, timeout=timeout, auto_retry=False)
        self._source = source

    @property
    def access_token(self) -> str:
        """The token that is held, from memory. Raises NoToken or Closed."""
        return self._source()

    def fetch_access_token(self) -> dict[str, Any]:
        """The token that is held: nothing is asked of WeChat."""
        return granted(self._source.token())

    def _request(self, method: str, url_or_endpoint: str, **kwargs: Any) -> Any:
        params = kwargs.pop("params", None) or {}
        # customservice.delete_account gives its query as text.
        given: Any = parse_qs(params).get("access_token", [""])[0] if isinstance(params, str) else params.get("access_token")
        if given is not None and not is_ours(self._source, given):
            with hushed():
                return super()._request(method, url_or_endpoint, params=params, **kwargs)

        def send(token: str) -> Any:
            if isinstance(params, str):
                sent: Any = params.replace(quote(given), quote(token))
            else:
                sent = {**params, "access_token": token}
            return super(LingpaiClient, self)._request(method, url_or_endpoint, params=sent, **kwargs)

        return cured(self._source, Files(kwargs), send, lambda error: getattr(error, "errcode", None))
