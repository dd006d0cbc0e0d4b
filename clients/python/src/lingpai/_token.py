from __future__ import annotations

import time
from hashlib import sha256
from typing import NoReturn, Optional


class Token:
    """One access_token. It does not change: when the broker has a newer one, the source has another ``Token``.

    What prints one prints its id: ``str``, ``repr`` and f-strings never show the value (R18). It cannot be pickled.
    """

    __slots__ = ("_previous", "_value", "expires_at", "generation", "id")

    def __init__(self, value: str, generation: int, expires_at: Optional[float] = None, previous: Optional[Token] = None) -> None:
        self._value = value
        self._previous = previous
        #: The first 12 hexadecimal digits of the value's SHA-256: the name of the token in logs.
        self.id = sha256(value.encode()).hexdigest()[:12]
        #: Rises with each new token of an app. Unsigned, 64 bits. 0 for a previous token, of which the broker does not say.
        self.generation = generation
        #: When its life is over, in seconds of ``time.monotonic()``; None where it does not expire.
        self.expires_at = expires_at

    @property
    def value(self) -> str:
        """The secret, 1 to 2,048 characters: send it as ``access_token``, and never log it."""
        return self._value

    @property
    def previous(self) -> Optional[Token]:
        """The token before it, during its grace: while WeChat still honours it. The library never chooses it (R13)."""
        before = self._previous
        return before if before is not None and not before._is_over(time.monotonic()) else None

    def _is_over(self, now: float) -> bool:
        return self.expires_at is not None and self.expires_at <= now

    def __str__(self) -> str:
        return self.id

    def __repr__(self) -> str:
        return f"<Token {self.id}>"

    def __reduce__(self) -> NoReturn:
        raise TypeError("a token is a secret and is not pickled")
