import os
import re
import sys
from pathlib import Path

import requests
import werobot.client

sys.path.append(str(Path(__file__).parents[1]))
from serve import digest, serve  # noqa: E402

GATEWAY, APP_ID, KEY = (os.environ[name] for name in ("GATEWAY", "APP_ID", "KEY"))


# docs/gateway.md: werobot
class ToGateway(requests.adapters.HTTPAdapter):
    def send(self, request, **kwargs):
        request.url = re.sub("^https?://api.weixin.qq.com", GATEWAY, request.url)
        return super().send(request, **kwargs)


werobot.client.requests = requests.Session()
for scheme in ("https", "http"):
    werobot.client.requests.mount(f"{scheme}://api.weixin.qq.com", ToGateway())

client = werobot.client.Client({"APP_ID": APP_ID, "APP_SECRET": KEY})
# docs/gateway.md: end


def ticket():
    # It has no call for tickets; this is how a call is made that it does not have.
    params = {"access_token": client.token, "type": "jsapi"}
    return digest(client.get("https://api.weixin.qq.com/cgi-bin/ticket/getticket", params=params)["ticket"])


def upload(path):
    with open(path, "rb") as file:
        return client.upload_media("image", file)["media_id"]


serve(
    {
        "token": lambda _: digest(client.token),
        "message": lambda to: client.send_template_message(to, "T1", {"first": {"value": "hello"}})["msgid"],
        "ticket": lambda _: ticket(),
        "upload": upload,
        "elsewhere": lambda _: client.upload_custom_service_account_avatar("kf@sdk", b"jpg")["errmsg"],
        "download": lambda media_id: digest(client.download_media(media_id).content),
    }
)
