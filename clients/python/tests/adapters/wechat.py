"""A WeChat that takes the fake broker's tokens."""

from __future__ import annotations

import json
import sys
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import requests

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import support  # noqa: F401 - where the library is

from lingpai.testing import FakeBroker


class WeChat:
    """``asked`` has each request: its path, its token and its body. A token that is dead is refused by ``errcode``.

    ``status`` is what it answers by.
    """

    def __init__(self, broker: FakeBroker, app: str) -> None:
        self.asked: list[tuple[str, str, bytes]] = []
        self.errcode = 40001
        self.status = 200
        self._broker, self._app = broker, app
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), type("Handler", (_Handler,), {"wechat": self}))
        self._server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}"
        threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True).start()

    def stop(self) -> None:
        self._server.shutdown()
        self._server.server_close()

    def answer(self, path: str, token: str, body: bytes) -> Any:
        self.asked.append((path, token, body))
        if path.endswith("/token"):
            return {"access_token": "MINTED", "expires_in": 7200}
        if not self._broker.honours(self._app, token):
            return {"errcode": self.errcode, "errmsg": "invalid credential"}
        if path.endswith("/media/get") or path.endswith("/get_material"):
            return b"\xff\xd8\xff jpg"
        return {"errcode": 0, "errmsg": "ok", "msgid": 7, "media_id": "M", "ticket": "T", "colors": [], "expires_in": 7200}


class _Handler(BaseHTTPRequestHandler):
    wechat: WeChat

    def do_GET(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        parts = urlsplit(self.path)
        answer = self.wechat.answer(parts.path, parse_qs(parts.query).get("access_token", [""])[0], body)
        packed = answer if isinstance(answer, bytes) else json.dumps(answer).encode()
        self.send_response(self.wechat.status)
        self.send_header("Content-Type", "image/jpeg" if isinstance(answer, bytes) else "application/json")
        self.send_header("Content-Length", str(len(packed)))
        self.end_headers()
        self.wfile.write(packed)

    do_POST = do_GET

    def log_message(self, format: str, *args: Any) -> None:
        pass


class ToFake(requests.adapters.HTTPAdapter):
    """Leads an SDK's calls of WeChat to another address."""

    def __init__(self, url: str) -> None:
        super().__init__()
        self._url = url

    def send(self, request: Any, **kwargs: Any) -> Any:
        parts = urlsplit(request.url)
        request.url = request.url.replace(f"{parts.scheme}://{parts.netloc}", self._url, 1)
        return super().send(request, **kwargs)


def led_to(session: requests.Session, url: str) -> requests.Session:
    for scheme in ("https", "http"):
        session.mount(f"{scheme}://api.weixin.qq.com", ToFake(url))
    return session
