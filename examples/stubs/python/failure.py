"""What a broker's error says, read from the details of the gRPC status."""

from dataclasses import dataclass
from typing import Any

import grpc
from google.rpc import error_details_pb2
from grpc_status import rpc_status


@dataclass(frozen=True)
class Failure:
    """`reason` is the broker's ErrorReason: empty when the error is not its own, as when it cannot be reached."""

    code: str
    reason: str
    message: str
    retry_after: float = 0.0  # seconds before a retry can help; 0: not said

    @property
    def permanent(self) -> bool:
        """Waiting will not help, since the request itself is wrong."""
        return self.reason in ("APP_NOT_FOUND", "INVALID_REQUEST")

    @property
    def needs_operator(self) -> bool:
        """Someone must mend a key, a permission or the address first: ask seldom."""
        return self.code in ("UNAUTHENTICATED", "PERMISSION_DENIED", "UNIMPLEMENTED")

    def fields(self, during: str, retry_in: float | None = None) -> dict[str, Any]:
        """The failure as data for a log line."""
        return {
            "during": during,
            "code": self.code,
            "reason": self.reason,
            "message": self.message,
            "retry_in_ms": round((self.retry_after if retry_in is None else retry_in) * 1000),
        }


class NoCredential(Exception):
    """What this service would show the broker cannot be read; the message says why."""


def explain(error: Exception) -> Failure:
    """Reads the details of a gRPC error; of any other it takes the message."""
    if isinstance(error, NoCredential):
        return Failure("UNAUTHENTICATED", "", str(error))
    if not isinstance(error, grpc.aio.AioRpcError):
        return Failure("UNKNOWN", "", str(error))
    reason, retry_after = "", 0.0
    status = rpc_status.from_call(error)
    for detail in status.details if status else ():
        info, retry = error_details_pb2.ErrorInfo(), error_details_pb2.RetryInfo()
        if detail.Unpack(info):
            reason = info.reason
        elif detail.Unpack(retry):
            retry_after = retry.retry_delay.ToTimedelta().total_seconds()
    return Failure(error.code().name, reason, error.details() or "", retry_after)
