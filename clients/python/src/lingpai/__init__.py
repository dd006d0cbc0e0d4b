"""Holds the newest WeChat access_token of each app in memory, as a Lingpai broker pushes it."""

from ._aio import AsyncClient, AsyncSource
from ._client import Client
from ._errors import Closed, ConfigurationError, LingpaiError, NoToken, Rejected, RpcError, StartTimeout, is_rejection
from ._options import Event, Timing
from ._source import Report, Source
from ._token import Token

__all__ = [
    "AsyncClient",
    "AsyncSource",
    "Client",
    "Closed",
    "ConfigurationError",
    "Event",
    "LingpaiError",
    "NoToken",
    "Rejected",
    "Report",
    "RpcError",
    "Source",
    "StartTimeout",
    "Timing",
    "Token",
    "is_rejection",
]
