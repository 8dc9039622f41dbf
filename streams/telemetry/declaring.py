"""Declares metrics on one registry, under our prefix."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from prometheus_client import Counter, Gauge, Histogram

if TYPE_CHECKING:
    from prometheus_client import CollectorRegistry

__all__ = ["STAGE", "Declare"]

#: The labels of what is counted by stage.
STAGE: Final = ("pipeline", "stage")


class Declare:
    """Makes the metrics of one registry."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self._registry = registry

    def counter(self, name: str, text: str, *labels: str) -> Counter:
        """Return a counter by these labels."""
        return Counter(f"batuta_{name}", text, labels, registry=self._registry)

    def gauge(self, name: str, text: str, *labels: str) -> Gauge:
        """Return a gauge by these labels."""
        return Gauge(f"batuta_{name}", text, labels, registry=self._registry)

    def histogram(
        self, name: str, text: str, buckets: tuple[float, ...], labels: tuple[str, ...] = STAGE
    ) -> Histogram:
        """Return a histogram by these labels."""
        return Histogram(f"batuta_{name}", text, labels, registry=self._registry, buckets=buckets)
