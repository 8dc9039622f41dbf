"""Futures that nobody waits for any more: someone has to look at how they ended.

asyncio says a traceback for each that failed unseen, whenever the collector comes by.
"""

from typing import Protocol

__all__ = ["look_at"]


class _Ended(Protocol):
    def cancelled(self) -> bool: ...

    def exception(self) -> BaseException | None: ...


def look_at(ended: _Ended) -> None:
    """Take note of how a future ended, so that nobody else has to."""
    if not ended.cancelled():
        ended.exception()
