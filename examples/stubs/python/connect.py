"""How the broker is reached, and what this service shows it."""

import ipaddress
import re
from collections.abc import Mapping
from pathlib import Path

import grpc
from failure import NoCredential

CHANNEL_OPTIONS = [
    ("grpc.use_local_subchannel_pool", 1),  # else a new channel takes the connection of an old one
    ("grpc.min_reconnect_backoff_ms", 5000),  # which is how long an attempt to connect may take
    ("grpc.enable_http_proxy", 0),  # the broker is an internal address: http_proxy is for others
]


class Broker:
    """Where the broker is. Files are read at each connect: certificates are renewed, keys rotated, and Kubernetes replaces
    a projected token every hour."""

    def __init__(self, addr: str, env: Mapping[str, str]) -> None:
        """`addr`: HOST:PORT, https://HOST:PORT or http://HOST:PORT. Raises ValueError, which says what to write."""
        match = re.fullmatch(r"(?:(https?)://)?([^/]+)/?", addr)
        if not match:
            raise ValueError(f"{addr!r} is no address: write HOST:PORT or https://HOST:PORT")
        scheme, self._addr = match.groups()
        self._ca = env.get("LINGPAI_CA")
        self._cert, self._cert_key = env.get("LINGPAI_CERT"), env.get("LINGPAI_CERT_KEY")
        self._key, self._key_file = env.get("LINGPAI_KEY"), env.get("LINGPAI_KEY_FILE")
        self._tls = scheme == "https" or (scheme is None and bool(self._ca or self._cert))
        if self._key and self._key_file:
            raise ValueError("LINGPAI_KEY and LINGPAI_KEY_FILE are both set: unset one of them")
        if bool(self._cert) != bool(self._cert_key):
            raise ValueError("LINGPAI_CERT and LINGPAI_CERT_KEY belong together: set both")
        told = env.get("LINGPAI_PLAINTEXT") == "1"
        if (self._key or self._key_file) and not (self._tls or told or _is_loopback(self._addr)):
            raise ValueError(
                f"the key would go to {self._addr} unencrypted: write https://{self._addr}, "
                "or set LINGPAI_PLAINTEXT=1 where nobody can listen in between"
            )

    def dial(self) -> grpc.aio.Channel:
        """A new connection. Raises NoCredential."""
        key = _read(self._key_file).decode().strip() if self._key_file else self._key
        if self._key_file and not key:
            raise NoCredential(f"LINGPAI_KEY_FILE {self._key_file} is empty")
        if not self._tls:
            # grpcio sends call credentials over TLS only, and metadata over anything: __init__ has looked where it goes.
            return grpc.aio.insecure_channel(self._addr, CHANNEL_OPTIONS, interceptors=_bearer(key) if key else None)
        credentials = grpc.ssl_channel_credentials(_read(self._ca), _read(self._cert_key), _read(self._cert))
        if key:
            credentials = grpc.composite_channel_credentials(credentials, grpc.access_token_call_credentials(key))
        return grpc.aio.secure_channel(self._addr, credentials, CHANNEL_OPTIONS)


def _read(path: str | None) -> bytes | None:
    try:
        return Path(path).read_bytes() if path else None
    except OSError as error:
        raise NoCredential(str(error)) from None


def _is_loopback(addr: str) -> bool:
    host = addr.rpartition(":")[0].strip("[]")
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def _bearer(key: str) -> list[grpc.aio.ClientInterceptor]:
    def shown(details: grpc.aio.ClientCallDetails) -> grpc.aio.ClientCallDetails:
        metadata = details.metadata or grpc.aio.Metadata()
        metadata["authorization"] = f"Bearer {key}"
        return details._replace(metadata=metadata)

    class Unary(grpc.aio.UnaryUnaryClientInterceptor):
        async def intercept_unary_unary(self, continuation, details, request):
            return await continuation(shown(details), request)

    class Stream(grpc.aio.UnaryStreamClientInterceptor):
        async def intercept_unary_stream(self, continuation, details, request):
            return await continuation(shown(details), request)

    return [Unary(), Stream()]
