"""A redrive that has delivered everything, says so, and never comes to its commit."""

import asyncio
import sys
from collections.abc import Iterable

from aiokafka.producer.message_accumulator import BatchBuilder

from batuta.streams.cli import main
from batuta.streams.deadletters import redrive
from batuta.streams.lanes.producer import Destination, LaneProducer


class NeverCommitting(LaneProducer):
    """Stays inside its first transaction."""

    async def _deliver(
        self, parcels: Iterable[tuple[str, int, BatchBuilder]]
    ) -> dict[Destination, int]:
        await super()._deliver(parcels)
        sys.stderr.write("delivered\n")
        sys.stderr.flush()
        await asyncio.Event().wait()
        raise AssertionError("for ever is over")


names = redrive.__dict__
assert names["LaneProducer"] is LaneProducer, "nothing uses what this mutant replaces"
names["LaneProducer"] = NeverCommitting
sys.exit(main())
