"""Serves the chat models of a shipped pipeline, where nobody said at which address they are."""

from contextlib import contextmanager
from typing import TYPE_CHECKING

from batuta.streams.cli.terminal import step

if TYPE_CHECKING:
    from collections.abc import Generator

    from batuta.streams.pipelines.loading import PipelineOnDisk

__all__ = ["stand_in"]


@contextmanager
def stand_in(pipeline: str, on_disk: "PipelineOnDisk") -> "Generator[None]":
    """Serve on loopback meanwhile, and lend the address to the variables that nobody has set.

    Args:
        pipeline: as the command was given it; a file of one's own is left alone.
        on_disk: the same, loaded.
    """
    from batuta.streams.environment import lent, unset_of
    from batuta.streams.model_server.process import ModelServerProcess
    from batuta.streams.pipelines.finding import SHIPPED

    models = on_disk.document.file.models.values()
    unset = unset_of(one.url or "" for one in models if one.adapter == "openai")
    if not unset or pipeline not in SHIPPED:
        yield
        return
    with step("server") as said:
        server = ModelServerProcess()
        said(f"{server.address}, stands in for {', '.join(unset)}, which nobody has set")
    with server, lent(unset, server.url("honest") + "/v1"):
        yield
