"""Declares metrics on one registry, under our prefix; and says which build counts."""

from __future__ import annotations

import importlib.metadata
from typing import TYPE_CHECKING, Final

from prometheus_client import Counter, Gauge, Histogram

if TYPE_CHECKING:
    from prometheus_client import CollectorRegistry

__all__ = ["STAGE", "Declare", "build_version"]

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


def build_version() -> str:
    """Return which build of batuta runs."""
    try:
        return importlib.metadata.version("batuta")
    except importlib.metadata.PackageNotFoundError:
        return "unknown"
