"""The loop of a driver, as serve.mjs has it."""

import hashlib
import json
import logging
import sys
from concurrent.futures import ThreadPoolExecutor


def digest(value):
    """Says what a value is without saying it."""
    return hashlib.sha256(value.encode() if isinstance(value, str) else value).hexdigest()


def serve(sdk):
    """Carries out the orders on stdin; `sdk` has a function for each."""
    logging.basicConfig(level=logging.DEBUG)
    with ThreadPoolExecutor(max_workers=32) as threads:
        for line in sys.stdin:
            order = json.loads(line)
            calls = [threads.submit(sdk[order["op"]], order.get("arg")) for _ in range(order.get("times", 1))]
            answer = {"event": "done", "results": [], "failures": []}
            for call in calls:
                try:
                    answer["results"].append(str(call.result()))
                except Exception as error:
                    answer["failures"].append(repr(error))
            print(json.dumps(answer), flush=True)
