"""People who are asked by plans, as models are: each has a queue, and time to answer in."""

from dataclasses import dataclass

__all__ = ["Person"]


@dataclass(frozen=True, slots=True)
class Person:
    """Whom a plan asks.

    Attributes:
        name: as the pipeline names them.
        queue: the reviewers who see the case; several may share it.
        sla_ms: a later verdict counts as none.
    """

    name: str
    queue: str
    sla_ms: int

    @property
    def version(self) -> str:
        """What stands for a model's version in records; who answered is in the evidence."""
        return f"{self.name}@{self.queue}"
