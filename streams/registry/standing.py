"""What the registry holds, as read from its topics at one moment."""

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Final

from batuta.schemas.errors import UsageError
from batuta.schemas.model_version import STAGES, ModelVersion, Pointer, Stage

__all__ = ["Standing"]

_DIGITS_MIN: Final = 4


@dataclass
class Standing:
    """Versions by pipeline and id, and where each stands.

    Attributes:
        control_offset: behind the last control record that was read; what is done under this
            standing is done under that offset.
    """

    control_offset: int = 0
    _versions: dict[tuple[str, str], ModelVersion] = field(
        default_factory=dict[tuple[str, str], ModelVersion]
    )
    _pointers: dict[str, Pointer] = field(default_factory=dict[str, Pointer])
    _moved_at: dict[str, int] = field(default_factory=dict[str, int])

    def add(self, version: ModelVersion) -> None:
        """Take a version in; the first record of an id holds."""
        self._versions.setdefault((version.pipeline, version.version_id), version)

    def point(self, pointer: Pointer, offset: int) -> None:
        """Take a pointer in; the last record of a control id holds."""
        self._pointers[pointer.control_id] = pointer
        self._moved_at[pointer.control_id] = offset + 1
        self.control_offset = max(self.control_offset, offset + 1)

    def versions(self, pipeline: str | None = None) -> list[ModelVersion]:
        """Return the versions of a pipeline, or all, the oldest first."""
        found = [one for one in self._versions.values() if pipeline in {None, one.pipeline}]
        return sorted(found, key=lambda one: (one.pipeline, one.model, one.registered_at))

    def stages(self, version: ModelVersion) -> tuple[Stage, ...]:
        """Return where a version stands; empty for one that is only registered."""
        return tuple(
            pointer.stage
            for stage in STAGES
            for pointer in self._pointers.values()
            if pointer.stage == stage
            and (pointer.pipeline, pointer.points_to) == (version.pipeline, version.version_id)
        )

    def at(self, pipeline: str, model: str, stage: Stage) -> ModelVersion | None:
        """Return the version of a model that stands at a stage."""
        pointer = self._pointers.get(_control_id(pipeline, model, stage))
        if pointer is None or pointer.points_to is None:
            return None
        return self._versions.get((pipeline, pointer.points_to))

    def moved_at(self, pipeline: str, models: Iterable[str]) -> int:
        """Return the offset behind the last record that moved any of some models in production.

        The same for everybody who has read as far, whatever else control holds; 0 where none did.
        """
        ids = (_control_id(pipeline, model, "production") for model in models)
        return max((self._moved_at.get(one, 0) for one in ids), default=0)

    def find(self, pipeline: str, text: str) -> ModelVersion:
        """Return the version that a person means: its id, or the first digits of its sha256.

        Raises:
            UsageError: none or several are meant.
        """
        known = self.versions(pipeline)
        if not known:
            raise UsageError(
                f"{pipeline} has no version of any model; add one: batuta models register"
            )
        meant = [one for one in known if one.version_id == text]
        digits = text.rpartition("@")[2]
        if not meant and len(digits) >= _DIGITS_MIN:
            meant = [one for one in known if one.sha256.startswith(digits)]
        if len(meant) != 1:
            ids = ", ".join(one.version_id for one in meant or known)
            what = "means several versions" if meant else "is no version"
            raise UsageError(f"{text!r} {what} of {pipeline}; choose one of: {ids}")
        return meant[0]


def _control_id(pipeline: str, model: str, stage: Stage) -> str:
    return f"model/{pipeline}/{model}/{stage}"
