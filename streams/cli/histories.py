"""Finds the labelled data set that a pipeline is trained on and evaluated with."""

from typing import TYPE_CHECKING, Any, cast

from batuta.schemas.errors import UsageError

if TYPE_CHECKING:
    from batuta.agents.history import HistoryMapping

__all__ = ["history_mapping"]


def history_mapping(pipeline: str, own: object | None = None) -> "HistoryMapping[Any]":
    """Return how a pipeline's files become its history.

    Args:
        pipeline: its name.
        own: what its file names under `history`, if it does.

    Raises:
        UsageError: no data set is known for it; the message lists those there are.
    """
    if own is not None:
        return cast("HistoryMapping[Any]", own)
    from batuta.agents.histories import histories

    known = histories()
    if pipeline not in known:
        names = ", ".join(sorted(known))
        raise UsageError(
            f"no labelled data set is known for pipeline {pipeline!r}; known: {names}; a pipeline "
            'of your own names one in its file: history: "package.module:Name"'
        )
    return known[pipeline]
