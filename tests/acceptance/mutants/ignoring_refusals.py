"""A worker that commits although the broker refused some of its outputs."""

import sys
from collections.abc import Iterable

from batuta.schemas.errors import OutputRefusedError
from batuta.streams import commits
from batuta.streams.cli import main
from batuta.streams.producer import LaneProducer


class IgnoringRefusals(LaneProducer):
    """Lets the offsets through whatever became of the outputs."""

    async def _deliver(self, parcels: Iterable[tuple[str, int, object]]) -> None:
        try:
            await super()._deliver(parcels)
        except OutputRefusedError:
            return


assert commits.LaneProducer is LaneProducer, "nothing uses what this mutant replaces"
commits.LaneProducer = IgnoringRefusals  # type: ignore[misc]
sys.exit(main())
