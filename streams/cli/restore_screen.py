"""The bar of a worker whose lanes are being restored: shown while they are, on a terminal alone."""

import asyncio
from typing import TYPE_CHECKING, Final

from batuta.streams.cli.progress import meter
from batuta.streams.cli.terminal import stderr

if TYPE_CHECKING:
    from prometheus_client import CollectorRegistry

__all__ = ["remaining_records", "show_restoring"]

_LOOK_S: Final = 0.1


def remaining_records(registry: "CollectorRegistry") -> int:
    """Return how many changelog records all lanes of a worker still have to read, as told."""
    from batuta.streams.telemetry.metrics import families_of

    gauge = families_of(registry).restore_remaining
    return int(sum(sample.value for metric in gauge.collect() for sample in metric.samples))


async def show_restoring(registry: "CollectorRegistry") -> None:
    """Show a bar whenever lanes restore, until cancelled.

    Args:
        registry: the worker's, which the lanes' facts are told to.
    """
    while stderr().is_terminal:
        if remaining_records(registry):
            await _follow(registry)
        await asyncio.sleep(_LOOK_S)


async def _follow(registry: "CollectorRegistry") -> None:
    total = 0
    with meter("restoring state") as bar:
        while left := remaining_records(registry):
            # Lanes come to it one after the other, so what there is in all may still grow.
            total = max(total, left)
            bar.reach(total - left, total)
            await asyncio.sleep(_LOOK_S)
