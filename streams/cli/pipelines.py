"""Finds the pipeline that a command is told by name, or that a topic belongs to."""

import difflib
from typing import TYPE_CHECKING

from batuta.schemas.errors import UsageError
from batuta.schemas.topics import Topics

if TYPE_CHECKING:
    from batuta.agents.pipelines import Shipped

__all__ = ["pipeline_of_topic", "shipped_pipeline"]


def shipped_pipeline(name: str) -> "Shipped":
    """Return the shipped pipeline called `name`.

    Raises:
        UsageError: there is none; the message lists those there are.
    """
    from batuta.agents.pipelines import PIPELINES

    if name in PIPELINES:
        return PIPELINES[name]
    near = difflib.get_close_matches(name, PIPELINES, n=1)
    guess = f" (did you mean {near[0]}?)" if near else ""
    known = ", ".join(sorted(PIPELINES))
    raise UsageError(f"no pipeline is called {name!r}{guess}; shipped: {known}")


def pipeline_of_topic(topic: str) -> "Shipped | None":
    """Return the shipped pipeline whose source `topic` is, if any."""
    from batuta.agents.pipelines import PIPELINES

    return next((one for name, one in PIPELINES.items() if Topics(name).events == topic), None)
