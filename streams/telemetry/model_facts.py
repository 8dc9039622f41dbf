"""What becomes of versions of models in a running worker."""

from collections.abc import Mapping
from dataclasses import dataclass

from batuta.streams.telemetry.facts import Scribe

__all__ = ["VersionRefused", "VersionsAdopted"]


@dataclass(frozen=True, slots=True)
class VersionsAdopted:
    """From the next batch on these versions are asked.

    Attributes:
        control_offset: behind the record that said so.
        versions: by model.
    """

    control_offset: int
    versions: Mapping[str, str]

    def tell(self, scribe: Scribe) -> None:
        """Show and say which versions are live."""
        scribe.meters.live(self.versions, self.control_offset)
        scribe.meters.version_refused.set(0)
        for version in self.versions.values():
            scribe.log.info("model_live", version=version, control_offset=self.control_offset)


@dataclass(frozen=True, slots=True)
class VersionRefused:
    """What stands in production cannot be taken up here; the former versions go on."""

    control_offset: int
    version: str
    error: Exception

    def tell(self, scribe: Scribe) -> None:
        """Count and show it, and say why: a human must act, other workers may have taken it up."""
        scribe.meters.versions_refused.inc()
        scribe.meters.version_refused.set(1)
        scribe.log.error(
            "model_refused",
            version=self.version,
            control_offset=self.control_offset,
            error=str(self.error),
        )
