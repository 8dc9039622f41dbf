"""Finds the labelled data set that a pipeline is trained on and evaluated with."""

from typing import TYPE_CHECKING, Any

from batuta.schemas.errors import UsageError

if TYPE_CHECKING:
    from batuta.agents.history import HistoryMapping

__all__ = ["history_mapping"]


def history_mapping(pipeline: str) -> "HistoryMapping[Any]":
    """Return how a pipeline's files become its history.

    Raises:
        UsageError: no data set is known for it; the message lists those there are.
    """
    from batuta.agents.histories import histories

    known = histories()
    if pipeline not in known:
        names = ", ".join(sorted(known))
        raise UsageError(f"no labelled data set is known for pipeline {pipeline!r}; known: {names}")
    return known[pipeline]
