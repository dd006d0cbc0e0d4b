"""A small service that always holds the newest access_token of one WeChat app."""

import argparse
import asyncio
import json
import os
import signal
import sys

import grpc
from connect import Broker
from failure import NoCredential, explain
from token_source import NoToken, TokenRejected, TokenSource

def print_event(event: str, **fields: object) -> None:
    """Writes one JSON line. It is told of no secret."""
    print(json.dumps({"event": event, **fields}, ensure_ascii=False), flush=True)


async def demonstrate_report(source: TokenSource) -> None:
    """Makes three business calls with a token that is refused: two hear of it at once, one when they are over. A real
    one asks WeChat with the token and raises TokenRejected for errcode 40001, 40014 or 42001."""
    soon, late = asyncio.Event(), asyncio.Event()

    async def call(answer: asyncio.Event) -> None:
        refused = False

        async def business(_token: str) -> None:
            nonlocal refused
            if not refused:
                refused = True
                await answer.wait()
                raise TokenRejected("WeChat refused the access_token")

        try:
            await source.call(business)
            print_event("call", ok=True)
        except (TokenRejected, NoToken) as error:
            print_event("error", **explain(error).fields("call"))

    quick, slow = [asyncio.create_task(call(soon)) for _ in range(2)], asyncio.create_task(call(late))
    await asyncio.sleep(0)  # all three have begun
    soon.set()
    await asyncio.gather(*quick)
    late.set()
    await slow


async def run(broker: Broker, args: argparse.Namespace) -> int:
    stop = asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    source = TokenSource(broker.dial, args.app, args.silence_seconds, print_event)
    try:
        await source.load()
    except (grpc.aio.AioRpcError, NoCredential) as error:
        failure = explain(error)
        print_event("error", **failure.fields("get"))
        if failure.permanent:
            print(f"token-service: {failure.message}", file=sys.stderr)
            return 1
        # Anything else passes: the watch brings the token when there is one.
    watching = asyncio.create_task(source.run())
    if args.report_once:
        await demonstrate_report(source)
    stopping = asyncio.create_task(stop.wait())
    await asyncio.wait([watching, stopping], return_when=asyncio.FIRST_COMPLETED)
    if watching.done():
        watching.result()  # it ends only by a bug: show it
    watching.cancel()
    await asyncio.wait([watching])
    print_event("stopped")
    return 0


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    addr = os.environ.get("LINGPAI_ADDR", "127.0.0.1:7600")
    parser.add_argument(
        "--addr", default=addr, help="the broker's gRPC address, HOST:PORT or https://HOST:PORT (or LINGPAI_ADDR)"
    )
    parser.add_argument("--app", required=True, help="the WeChat app id")
    parser.add_argument(
        "--silence-seconds", type=float, default=25, help="how long a stream may say nothing before it counts as dead"
    )
    parser.add_argument(
        "--report-once", action="store_true", help="demonstrate a refused token: calls that find the one held refused"
    )
    args = parser.parse_args()
    try:
        broker = Broker(args.addr, os.environ)
    except ValueError as wrong:
        parser.error(str(wrong))
    return asyncio.run(run(broker, args))


if __name__ == "__main__":
    sys.exit(main())
