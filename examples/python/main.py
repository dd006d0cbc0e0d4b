"""A small service that calls WeChat every few seconds, with the token of one app that a Lingpai broker pushes to it."""

import argparse
import http.client
import json
import os
import re
import signal
import sys
import time
import urllib.parse
import urllib.request

import lingpai


def print_event(event, **fields):
    """Writes one JSON line. It is told of no secret."""
    sys.stdout.write(json.dumps({"event": event, **fields}, ensure_ascii=False) + "\n")
    sys.stdout.flush()


def on_event(event):
    """Tells of what the library tells."""
    fields = {key: event[key] for key in ("app", "state", "generation", "outcome", "during", "code", "reason", "message") if key in event}
    names = {"tokenId": "token_id", "afterMs": "after_ms", "retryInMs": "retry_in_ms"}
    fields.update({name: event[key] for key, name in names.items() if key in event})
    if event["type"] != "closed":
        print_event(event["type"], **fields)


def call_wechat(url, token):
    """A call that needs nothing but a token. Raises Rejected where WeChat refused it."""
    query = urllib.parse.urlencode({"access_token": token})
    with urllib.request.urlopen(f"{url}/cgi-bin/get_api_domain_ip?{query}", timeout=10) as response:
        answer = json.load(response)
    errcode, errmsg = answer.get("errcode", 0), answer.get("errmsg", "")
    if lingpai.is_rejection(errcode):
        raise lingpai.Rejected(errcode, errmsg)
    if errcode != 0:
        raise RuntimeError(f"WeChat answers errcode {errcode}, {errmsg}")


def serve(source, wechat, every):
    """Calls WeChat until the process is ended."""
    while True:
        used = ""

        def business(token):
            nonlocal used
            used = source.token().id
            call_wechat(wechat, token)

        try:
            source.call(business)
            print_event("call", ok=True, token_id=used)
        except (lingpai.LingpaiError, http.client.HTTPException, OSError, ValueError, RuntimeError) as error:
            print_event("call", ok=False, token_id=used, message=str(error))
        time.sleep(every)


def milliseconds(text):
    if not text.isdecimal() or not 1 <= int(text) < 2**31:
        raise argparse.ArgumentTypeError("write milliseconds, at least 1")
    return int(text)


def stop(_number, _frame):
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_IGN)  # it is ending
    raise SystemExit(0)


def main() -> int:
    parser = argparse.ArgumentParser(prog="token-service", description=__doc__)
    parser.add_argument("--app", required=True, help="the id of an app that the broker serves")
    parser.add_argument("--every-ms", type=milliseconds, default=5000, help="milliseconds between calls of WeChat, at least 1")
    args = parser.parse_args()
    env = {name: value for name, value in os.environ.items() if value}
    wechat = env.get("WECHAT_URL", "https://api.weixin.qq.com").rstrip("/")
    if not re.fullmatch(r"https?://[^\s/?#]+", wechat):
        parser.error("WECHAT_URL: write where WeChat is, such as https://api.weixin.qq.com")
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, stop)
    try:
        with lingpai.Client(
            env.get("LINGPAI_ADDR", "http://127.0.0.1:7680"),
            apps=[args.app],
            start_timeout=30,
            ca=env.get("LINGPAI_CA"),
            cert=env.get("LINGPAI_CERT"),
            cert_key=env.get("LINGPAI_CERT_KEY"),
            key=env.get("LINGPAI_KEY"),
            key_file=env.get("LINGPAI_KEY_FILE"),
            plaintext=env.get("LINGPAI_PLAINTEXT") == "1",
            on_event=on_event,
        ) as client:
            serve(client.app(args.app), wechat, args.every_ms / 1000)
    except lingpai.ConfigurationError as error:
        parser.error(f"{error} (target is LINGPAI_ADDR, apps --app, key_file LINGPAI_KEY_FILE, and so on; plaintext is LINGPAI_PLAINTEXT=1)")
    except lingpai.LingpaiError as error:
        code = getattr(error, "code", type(error).__name__)
        print_event("error", during="start", code=code, reason=getattr(error, "reason", ""), message=str(error))
        print(f"token-service: {error}", file=sys.stderr)
        return 1
    except SystemExit:
        print_event("stopped")
    return 0


if __name__ == "__main__":
    sys.exit(main())
