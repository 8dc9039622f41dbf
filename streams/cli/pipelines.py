"""Finds the pipeline that a command is told by name or path, or that a topic belongs to."""

from typing import TYPE_CHECKING

from batuta.schemas.topics import Topics

if TYPE_CHECKING:
    from batuta.agents.pipelines import LoadedPipeline

__all__ = ["pipeline_of_topic", "shipped_pipeline"]


def shipped_pipeline(pipeline: str) -> "LoadedPipeline":
    """Return the pipeline called so: shipped, or in the file of that path.

    Raises:
        UsageError: there is none, or its file is wrong.
    """
    from batuta.streams.pipelines.finding import find_pipeline

    return find_pipeline(pipeline).loaded


def pipeline_of_topic(topic: str) -> "LoadedPipeline | None":
    """Return the shipped pipeline whose source `topic` is, if any."""
    from batuta.streams.pipelines.finding import PIPELINES

    return next((PIPELINES[name] for name in PIPELINES if Topics(name).events == topic), None)
