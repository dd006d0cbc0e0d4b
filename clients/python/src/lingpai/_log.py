from __future__ import annotations

import logging
from typing import Any

_logger = logging.getLogger("lingpai")


def say(level: int, words: str, *args: Any, exc_info: bool = False) -> None:
    """A line of the log. What a user's handler or filter raises is swallowed: it would end the thread that brings the tokens."""
    try:
        _logger.log(level, words, *args, exc_info=exc_info, stacklevel=2)
    except KeyboardInterrupt:
        raise  # it is the user's, and reaches the main thread alone
    except BaseException:
        pass
