"""Slices: long work on the loop that lets everything else go on, heartbeats first of all."""

import asyncio
from typing import Final

__all__ = ["Slices"]

_SLICE_S: Final = 0.01


class Slices:
    """Gives the loop away whenever a slice of its time is used up."""

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._pause_at_s = self._loop.time() + _SLICE_S

    async def pause(self) -> None:
        """Let others go on, if it is time."""
        if self._loop.time() > self._pause_at_s:
            await asyncio.sleep(0)
            self._pause_at_s = self._loop.time() + _SLICE_S
