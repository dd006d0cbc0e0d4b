import os
import sys
from pathlib import Path

import requests
from wechatpy import WeChatClient

sys.path.append(str(Path(__file__).parents[1]))
from serve import digest, serve  # noqa: E402

GATEWAY, APP_ID, KEY = (os.environ[name] for name in ("GATEWAY", "APP_ID", "KEY"))


# docs/gateway.md: wechatpy
class ToGateway(requests.adapters.HTTPAdapter):
    def send(self, request, **kwargs):
        request.url = request.url.replace("https://api.weixin.qq.com", GATEWAY, 1)
        return super().send(request, **kwargs)


client = WeChatClient(APP_ID, KEY)
client._http.mount("https://api.weixin.qq.com", ToGateway())
# docs/gateway.md: end


def upload(path):
    with open(path, "rb") as file:
        return client.media.upload("image", file)["media_id"]


serve(
    {
        "token": lambda _: digest(client.access_token),
        "message": lambda to: client.message.send_template(to, "T1", {"first": {"value": "hello"}})["msgid"],
        "ticket": lambda _: digest(client.jsapi.get_jsapi_ticket()),
        "upload": upload,
        "elsewhere": lambda _: client.card.get_colors(),
        "download": lambda media_id: digest(client.media.download(media_id).content),
    }
)
