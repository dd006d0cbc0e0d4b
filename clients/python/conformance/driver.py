"""The kit's driver of this library: test/conformance/README.md says what it answers."""

import gc
import hashlib
import json
import os
import re
import signal
import sys
import threading
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "src"))

import lingpai

clients = {}
printing = threading.Lock()


class BusinessError(Exception):
    """An error of the user's own business."""


class LateError(Exception):
    pass


def id_of(value):
    return hashlib.sha256(value.encode()).hexdigest()[:12]


def shown(entry, token):
    entry["seen"][str(token.generation)] = token
    previous = {"previousId": id_of(token.previous.value)} if token.previous else {}
    return {"generation": str(token.generation), "tokenId": id_of(token.value), **previous}


def create(client, options, **_):
    options = dict(options)
    tls = options.pop("tls", {})
    timing = {re.sub(r"[A-Z]", lambda match: "_" + match.group().lower(), name[:-2]): ms / 1000 for name, ms in options.pop("timing", {}).items()}
    entry = {"events": [], "seen": {}}
    entry["client"] = lingpai.Client(
        options["target"],
        apps=options["apps"],
        start_timeout=options.get("startTimeoutMs", 10_000) / 1000,
        start_optional=options.get("startOptional", False),
        ca=tls.get("ca"),
        cert=tls.get("cert"),
        cert_key=tls.get("key"),
        key_file=options.get("keyFile"),
        plaintext=options.get("plaintext", False),
        on_event=entry["events"].append,
        timing=lingpai.Timing(**timing),
    )
    clients[client] = entry
    return {}


def wait(client, app, generation, timeoutMs, **_):
    entry = clients[client]
    end = time.monotonic() + timeoutMs / 1000
    for token in entry["client"].app(app).updates(timeoutMs / 1000):
        if token.generation >= int(generation):
            return shown(entry, token)
        if time.monotonic() >= end:
            break
    entry["client"].app(app).token()
    raise LateError


def call(client, app, script, **_):
    ids = []

    def business(token):
        ids.append(id_of(token))
        result = script[len(ids) - 1] if len(ids) <= len(script) else "ok"
        if result == "ok":
            return
        raise lingpai.Rejected(int(result)) if lingpai.is_rejection(int(result)) else BusinessError(result)

    try:
        clients[client]["client"].app(app).call(business)
    except Exception as error:
        error.more = {"attempts": len(ids), "tokenIds": ids}
        raise
    return {"attempts": len(ids), "tokenIds": ids}


def report(client, app, generation=None, **_):
    entry = clients[client]
    source = entry["client"].app(app)
    outcome, token = source.report(entry["seen"].get(generation) or source.token())
    return {"outcome": outcome, **shown(entry, token)}


def events(client, **_):
    told = clients[client]["events"]
    events, told[:] = list(told), []
    return {"events": events}


def bench(client, app, reads, **_):
    read = clients[client]["client"].app(app).token
    start = time.perf_counter_ns()
    for _ in range(reads):
        read()
    return {"nsPerRead": (time.perf_counter_ns() - start) / reads}


def fork(client, app, mode, generation, timeoutMs, **_):
    source = clients[client]["client"].app(app)

    def held():
        end = time.monotonic() + timeoutMs / 1000
        while source.token().generation < int(generation) and time.monotonic() < end:
            time.sleep(0.005)
        return {"generation": str(source.token().generation), "tokenId": id_of(source.token().value)}

    read_end, write_end = os.pipe()
    hooks = lingpai._client._after_fork_in_child.__code__
    if mode == "none":  # as uWSGI forks
        lingpai._client._after_fork_in_child.__code__ = (lambda: None).__code__
    pid = os.fork()
    if pid == 0:
        os.write(write_end, json.dumps(held()).encode())
        clients[client]["client"].close()
        os._exit(0)
    lingpai._client._after_fork_in_child.__code__ = hooks
    os.close(write_end)
    parent = held()
    with os.fdopen(read_end) as pipe:
        child = json.loads(pipe.read() or "{}")
    os.waitpid(pid, 0)
    return {"parent": parent, "child": child}


def leaks(**_):
    gc.collect()
    threads = int(re.search(r"^Threads:\s+(\d+)", Path("/proc/self/status").read_text(), re.M).group(1))
    return {"threads": threads, "files": len(os.listdir("/proc/self/fd"))}


def close(client, forget=False, **_):
    entry = clients.pop(client) if forget else clients[client]
    entry["client"].close()
    return {}


OPS = {
    "hello": lambda **_: {
        "name": "python",
        "version": "0.1.0",
        "transport": "connect",
        "capabilities": ["tls", "fork"],
    },
    "create": create,
    "token": lambda client, app, **_: shown(clients[client], clients[client]["client"].app(app).token()),
    "wait": wait,
    "call": call,
    "report": report,
    "stats": lambda client, **_: clients[client]["client"].stats(),
    "events": events,
    "bench": bench,
    "fork": fork,
    "leaks": leaks,
    "close": close,
}

KINDS = {
    lingpai.NoToken: "NoToken",
    lingpai.Closed: "Closed",
    lingpai.Rejected: "Rejected",
    lingpai.StartTimeout: "StartTimeout",
    lingpai.RpcError: "Rpc",
    lingpai.ConfigurationError: "Configuration",
}


def explain(error):
    if isinstance(error, LateError):
        return {"kind": "NoToken", "reason": "TIMEOUT"}
    code = getattr(error, "errcode", None) or getattr(error, "code", "") or (str(error) if isinstance(error, BusinessError) else "")
    return {
        "kind": KINDS.get(type(error), "Other"),
        "code": str(code),
        "reason": getattr(error, "reason", ""),
        "message": str(error) or type(error).__name__,
        **getattr(error, "more", {}),
    }


def answer(id, op, **fields):
    try:
        line = {"id": id, "ok": OPS[op](**fields)}
    except Exception as error:
        line = {"id": id, "error": explain(error)}
    with printing:
        sys.stdout.write(json.dumps(line) + "\n")
        sys.stdout.flush()


signal.signal(signal.SIGINT, signal.SIG_IGN)
for line in sys.stdin:
    request = json.loads(line)
    if request["op"] == "leaks":  # not on a thread, which would count itself
        answer(**request)
    else:
        threading.Thread(target=answer, kwargs=request, daemon=True).start()
for entry in clients.values():
    entry["client"].close()
