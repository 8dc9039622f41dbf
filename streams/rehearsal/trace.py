"""The trace: what happened in a rehearsal, in order, as one hash.

Two runs with the same hash took the same way. The lines themselves are kept only where somebody
wants to read them.
"""

from collections.abc import Callable
from hashlib import blake2b

__all__ = ["Trace"]

_DIGEST_BYTES = 16


class Trace:
    """Takes down what happens.

    Args:
        now_s: the virtual time.
        keep: whether the lines are kept beside their hash.
    """

    def __init__(self, now_s: Callable[[], float], *, keep: bool = False) -> None:
        self._now_s = now_s
        self._hash = blake2b(digest_size=_DIGEST_BYTES)
        self.lines: list[str] | None = [] if keep else None

    def note(self, who: str, what: str, detail: object = "") -> None:
        """Take down that `who` did `what`, now."""
        line = f"{self._now_s():.6f} {who} {what} {detail}"
        self._hash.update(line.encode())
        if self.lines is not None:
            self.lines.append(line)

    @property
    def hash(self) -> str:
        """The hash over everything so far, 32 hex digits."""
        return self._hash.hexdigest()
