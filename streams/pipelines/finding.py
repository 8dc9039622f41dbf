"""Finds the pipeline that a command names: a shipped one, or a file."""

import difflib
from collections.abc import Iterator, Mapping
from functools import cache
from importlib.resources import as_file, files
from pathlib import Path
from typing import Final

from batuta.agents.pipelines import LoadedPipeline
from batuta.schemas.errors import UsageError
from batuta.streams.pipelines.loading import PipelineOnDisk, load_file

__all__ = ["PIPELINES", "SHIPPED", "find_pipeline", "is_path"]

#: The pipelines that ship with batuta, and the package that holds each one's file.
SHIPPED: Final[Mapping[str, str]] = {
    "fraud": "batuta.agents.fraud",
    "maintenance": "batuta.agents.maintenance",
    "support": "batuta.agents.support",
}
_FILE: Final = "pipeline.yaml"
_SUFFIXES: Final = (".yaml", ".yml")


def is_path(pipeline: str) -> bool:
    """Tell whether a command names a file, not a shipped pipeline."""
    return "/" in pipeline or "\\" in pipeline or pipeline.endswith(_SUFFIXES)


def find_pipeline(pipeline: str) -> PipelineOnDisk:
    """Return the pipeline called so, or in the file or folder called so.

    Raises:
        UsageError: there is none, or its file is wrong.
    """
    if pipeline in SHIPPED:
        return _shipped(pipeline)
    path = Path(pipeline)
    if path.is_dir():
        return load_file(path / _FILE)
    if is_path(pipeline):
        return load_file(path)
    near = difflib.get_close_matches(pipeline, SHIPPED, n=1)
    guess = f" (did you mean {near[0]}?)" if near else ""
    known = ", ".join(sorted(SHIPPED))
    raise UsageError(
        f"no pipeline is called {pipeline!r}{guess}; shipped: {known}; a file is named by its "
        f"path, such as ./{pipeline}.yaml"
    )


class _Shipped(Mapping[str, LoadedPipeline]):
    """The shipped pipelines, each loaded when it is asked for."""

    def __getitem__(self, name: str) -> LoadedPipeline:
        if name not in SHIPPED:
            raise KeyError(name)
        return _shipped(name).loaded

    def __iter__(self) -> Iterator[str]:
        return iter(SHIPPED)

    def __len__(self) -> int:
        return len(SHIPPED)


@cache
def _shipped(name: str) -> PipelineOnDisk:
    with as_file(files(SHIPPED[name]).joinpath(_FILE)) as path:
        return load_file(path)


#: The pipelines that ship with batuta, by name.
PIPELINES: Final[Mapping[str, LoadedPipeline]] = _Shipped()
