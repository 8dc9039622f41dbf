"""A worker that commits although the broker refused some of its outputs."""

import sys
from collections.abc import Iterable, Mapping

from batuta.schemas.errors import OutputRefusedError
from batuta.streams import lane
from batuta.streams.cli import main
from batuta.streams.producer import Destination, LaneProducer, Row


class IgnoringRefusals(LaneProducer):
    """Lets the offsets through whatever became of the outputs."""

    async def _deliver(self, rows: Mapping[Destination, Iterable[Row]]) -> None:
        try:
            await super()._deliver(rows)
        except OutputRefusedError:
            return


lane.LaneProducer = IgnoringRefusals  # type: ignore[misc]
sys.exit(main())
