from __future__ import annotations

import re
import ssl
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Optional, TypedDict
from urllib.parse import urlsplit

from ._errors import ConfigurationError, RpcError

#: What ``on_event`` is told (R17): a dict with a ``type``, and by it ``state``: app, state (HELD, NONE), generation (decimal), tokenId, reason;
#: ``goaway``: afterMs; ``report``: app, outcome; ``error``: during (watch, report, get), code, reason, message, retryInMs; ``reconnect``; ``closed``.
Event = Mapping[str, Any]


@dataclass(frozen=True)
class Timing:
    """The clocks of a client, in seconds: for tests. SPEC.md says what each is for."""

    silence: float = 25.0
    connect: float = 5.0
    call: float = 10.0
    backoff_base: float = 0.5
    backoff_cap: float = 10.0
    backoff_floor: float = 0.1
    life: float = 10.0
    goaway_cap: float = 60.0
    retry_cap: float = 300.0
    slow: float = 30.0
    slow_cap: float = 300.0
    app_retry: float = 60.0


@dataclass(frozen=True)
class Settings:
    """Options that have been looked at."""

    host: str
    port: int
    is_tls: bool
    apps: Sequence[str]
    start_timeout: float
    start_optional: bool
    ca: Optional[str]
    cert: Optional[str]
    cert_key: Optional[str]
    key: Optional[str] = field(repr=False)
    key_file: Optional[str]
    get_key: Optional[Callable[[], str]]
    on_event: Optional[Callable[[Event], None]]
    timing: Timing

    @property
    def authority(self) -> str:
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{host}:{self.port}"

    def bearer(self) -> Optional[str]:
        """The key, read anew. Raises an RpcError that needs an operator."""
        try:
            if self.key_file is not None:
                with open(self.key_file, encoding="utf-8") as file:
                    key: Optional[str] = file.read().strip()
            elif self.get_key is not None:
                key = self.get_key()
                if not isinstance(key, str):
                    raise TypeError(f"get_key gave {type(key).__name__}, not str")
            else:
                key = self.key
        except BaseException as error:  # SystemExit too: it would end the thread that brings the tokens
            raise RpcError("UNAUTHENTICATED", f"the key cannot be read: {error or type(error).__name__}") from error
        if key is not None and not re.fullmatch(r"[\x21-\x7e]+", key):
            words = "it has characters that a key does not have" if key else "it is empty"
            raise RpcError("UNAUTHENTICATED", f"the key cannot be read: {words}{f' ({self.key_file})' if self.key_file else ''}")
        return key

    def tls(self) -> ssl.SSLContext:
        """What TLS is spoken with, from files read anew. Raises an RpcError that needs an operator."""
        try:
            context = ssl.create_default_context(cafile=self.ca)
            context.minimum_version = ssl.TLSVersion.TLSv1_2
            if self.cert is not None:
                context.load_cert_chain(self.cert, self.cert_key)
            return context
        except (OSError, ValueError) as error:
            paths = ", ".join(path for path in (self.ca, self.cert, self.cert_key) if path)
            raise RpcError("UNAUTHENTICATED", f"the certificates cannot be used: {error} ({paths})") from error


class Options(TypedDict, total=False):
    """The options of a client, but for its apps. ``Client`` has their defaults and says what each is."""

    start_timeout: float
    start_optional: bool
    ca: Optional[str]
    cert: Optional[str]
    cert_key: Optional[str]
    key: Optional[str]
    key_file: Optional[str]
    get_key: Optional[Callable[[], str]]
    plaintext: bool
    on_event: Optional[Callable[[Event], None]]
    timing: Optional[Timing]


def settings_of(
    target: str,
    *,
    apps: Sequence[str],
    start_timeout: float,
    start_optional: bool,
    ca: Optional[str],
    cert: Optional[str],
    cert_key: Optional[str],
    key: Optional[str],
    key_file: Optional[str],
    get_key: Optional[Callable[[], str]],
    plaintext: bool,
    on_event: Optional[Callable[[Event], None]],
    timing: Optional[Timing],
) -> Settings:
    """Looks at options. Raises ConfigurationError."""
    if not isinstance(target, str):
        raise ConfigurationError(f"target is {target!r}: write http://HOST:PORT or https://HOST:PORT")
    scheme, _, rest = target.rpartition("://")
    is_tls = scheme == "https" if scheme else ca is not None or cert is not None
    host, port = _address(target, scheme, rest)
    if isinstance(apps, str) or not 1 <= len(apps) <= 10_000:
        raise ConfigurationError("apps must be a list of 1 to 10000 app ids")
    for app in apps:
        if not isinstance(app, str) or not re.fullmatch(r"[A-Za-z0-9_-]{1,64}", app):
            raise ConfigurationError(f"apps has {app!r}: an app id has 1 to 64 characters of A-Z, a-z, 0-9, - and _")
    if sum(one is not None for one in (key, key_file, get_key)) > 1:
        raise ConfigurationError("key, key_file and get_key are given together: give one of them")
    if (cert is None) != (cert_key is None):
        raise ConfigurationError("cert and cert_key belong together: give both")
    if scheme == "http" and (ca is not None or cert is not None):
        raise ConfigurationError(f"{'cert' if ca is None else 'ca'} is given, but {target} is without TLS: write https://{rest}")
    has_key = key is not None or key_file is not None or get_key is not None
    loopback = host.lower() == "localhost" or host == "::1" or re.fullmatch(r"127(\.\d{1,3}){3}", host)
    if has_key and not is_tls and not plaintext and not loopback:
        raise ConfigurationError(f"the key would go to {rest} unencrypted: write https://{rest}, or set plaintext where nobody can listen in between")
    if not isinstance(start_timeout, (int, float)) or not start_timeout > 0:
        raise ConfigurationError(f"start_timeout is {start_timeout!r}: write a number of seconds above 0")
    return Settings(
        host=host,
        port=port,
        is_tls=is_tls,
        apps=list(dict.fromkeys(apps)),
        start_timeout=start_timeout,
        start_optional=start_optional,
        ca=ca,
        cert=cert,
        cert_key=cert_key,
        key=key,
        key_file=key_file,
        get_key=get_key,
        on_event=on_event,
        timing=timing or Timing(),
    )


def _address(target: str, scheme: str, rest: str) -> tuple[str, int]:
    try:
        parts = urlsplit(f"//{rest}")
        if scheme in ("", "http", "https") and parts.hostname and parts.port and parts.path in ("", "/") and "@" not in rest:
            return parts.hostname, parts.port
    except ValueError:
        pass
    shown = target if "@" not in target else "***@" + target.rpartition("@")[2]  # a password may be before it
    raise ConfigurationError(f"target {shown!r} is no address: write http://HOST:PORT or https://HOST:PORT")
