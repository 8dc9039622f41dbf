"""Collects what is wrong with a pipeline, so that a user sees all of it at once."""

from batuta.schemas.pipeline_file.problems import Path, PipelineFileError, Problem, value_text
from batuta.schemas.pipeline_file.reading import Document

__all__ = ["Faults"]


class Faults:
    """The problems found so far in one document."""

    def __init__(self, document: Document) -> None:
        self._document = document
        self._found: list[Problem] = []

    def __len__(self) -> int:
        """Return how many there are."""
        return len(self._found)

    def add(self, path: Path, value: object, what: str, *, key: bool = False) -> None:
        """Note that `value` at `path` is wrong: what about it, a semicolon, the remedy."""
        said = f"{value_text(value)} {what}"
        self._found.append(self._document.problem(path, said, key=key))

    def beside(self) -> "Faults":
        """Return others of the same document, none of which are found yet."""
        return Faults(self._document)

    def settle(self) -> None:
        """Do nothing where all is well.

        Raises:
            PipelineFileError: something was noted.
        """
        if self._found:
            raise PipelineFileError(self._found)
