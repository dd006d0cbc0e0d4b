from __future__ import annotations

from typing import NoReturn, Optional


class Token:
    """One access_token. It does not change: when the broker has a newer one, the source has another ``Token``.

    What prints one prints its id: ``str``, ``repr`` and f-strings never show the value. It cannot be pickled.
    """

    __slots__ = ("_value", "generation", "id", "previous")

    def __init__(self, value: str, id: str, generation: int, previous: Optional[Token] = None) -> None:
        self._value = value
        #: The first 12 hexadecimal digits of the value's SHA-256: the name of the token in logs.
        self.id = id
        #: Rises with each new token of an app. Unsigned, 64 bits.
        self.generation = generation
        #: The token before it, while WeChat still honours it. The library never chooses it.
        self.previous = previous

    @property
    def value(self) -> str:
        """The secret, at most 2,048 characters: send it as ``access_token``, and never log it."""
        return self._value

    def __str__(self) -> str:
        return self.id

    def __repr__(self) -> str:
        return f"<Token {self.id}>"

    def __reduce__(self) -> NoReturn:
        raise TypeError("a token is a secret and is not pickled")
