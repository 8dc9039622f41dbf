"""Oversize: outputs too large for their topic, in a batch without a record to be given up for them.

What a timer or a late answer writes is owed to no record of its batch. Where its topic does not
take it even alone it would be tried for ever; so it becomes a dead letter itself, in the
transaction that would have carried it, and the rest of its batch is committed as it is. An output
at least as large as one that was refused alone would be refused as well: so the next attempt, whose
outputs may differ, knows them by their size.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Final

from batuta.schemas.record import Output, OutputColumns
from batuta.streams.lanes.batch_limits import batch_bytes
from batuta.streams.telemetry.facts import Scribe

__all__ = ["OUTPUT_TOO_LARGE", "OutputsBuried", "TooLarge", "set_apart"]

OUTPUT_TOO_LARGE: Final = "output_too_large"

_Outputs = list[Output | OutputColumns]


@dataclass(frozen=True, slots=True)
class TooLarge:
    """What a topic does not take.

    Attributes:
        size_bytes: how large a batch of one record was refused.
        limit_bytes: how large a batch the topic takes; None where we may not know.
    """

    size_bytes: int
    limit_bytes: int | None


@dataclass(frozen=True, slots=True)
class OutputsBuried:
    """Outputs became dead letters, as too large for their topics; no event ended by that."""

    count: int

    def tell(self, scribe: Scribe) -> None:
        """Count them, and call a human: what was decided did not get where it belongs."""
        scribe.meters.dead_letters.add(self.count, OUTPUT_TOO_LARGE)
        scribe.log.error("outputs_buried", reason=OUTPUT_TOO_LARGE, count=self.count)


def set_apart(
    outputs: Iterable[Output | OutputColumns], too_large: Mapping[str, TooLarge]
) -> tuple[_Outputs, list[Output]]:
    """Return the outputs that their topics may take, and those too large for them."""
    kept: _Outputs = []
    apart: list[Output] = []
    for some in outputs:
        found = too_large.get(some.topic)
        if found is None:
            kept.append(some)
            continue
        for one in some.outputs() if isinstance(some, OutputColumns) else (some,):
            large = batch_bytes((one.key, one.value, one.headers)) >= found.size_bytes
            (apart if large else kept).append(one)
    return kept, apart
