import os
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
        request.url = request.url.replace("https://api.weixin.qq.com", GATEWAY, 1)
        return super().send(request, **kwargs)


werobot.client.requests = requests.Session()
werobot.client.requests.mount("https://api.weixin.qq.com", ToGateway())

client = werobot.client.Client({"APP_ID": APP_ID, "APP_SECRET": KEY})
# docs/gateway.md: end


def upload(path):
    with open(path, "rb") as file:
        return client.upload_media("image", file)["media_id"]


serve(
    {
        "token": lambda _: digest(client.token),
        "message": lambda to: client.send_template_message(to, "T1", {"first": {"value": "hello"}})["msgid"],
        "ticket": lambda _: digest(
            client.get("https://api.weixin.qq.com/cgi-bin/ticket/getticket?type=jsapi&access_token=" + client.token, params={})["ticket"]
        ),
        "upload": upload,
        "download": lambda media_id: digest(client.download_media(media_id).content),
    }
)
