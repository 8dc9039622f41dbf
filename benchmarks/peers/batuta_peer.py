"""batuta: a Faust agent of one's own over lanes, exactly once, with a durable keyed table."""

from __future__ import annotations

import asyncio
import gc
from typing import TYPE_CHECKING, NamedTuple

import orjson
from prometheus_client import CollectorRegistry
from work import (
    BOOTSTRAP,
    GROUP,
    INPUT,
    OUTPUT,
    PARTITIONS,
    Transaction,
    decide,
)

from batuta.agents.state.codecs import TEXT, Codec, Packed
from batuta.agents.state.keyed import KeyedTable
from batuta.schemas.codec import Refused
from batuta.schemas.errors import RefusedEventError
from batuta.schemas.record import OutputColumns, Record
from batuta.streams.app import LaneApp
from batuta.streams.lanes.stage import Stage
from batuta.streams.settings import load_settings

if TYPE_CHECKING:
    from collections.abc import Sequence

    from faust.types import StreamT

    from batuta.streams.lanes.batch import Batch

STATE = f"{OUTPUT}.state"
DEADLETTERS = f"{OUTPUT}.deadletters"


class Sum(NamedTuple):
    """What is remembered of a card."""

    n: int
    total: float


class Decoded(NamedTuple):
    """The transactions of a batch, and what was none."""

    items: list[Transaction]
    refused: list[Refused]


def decode(records: Sequence[Record], now_ms: int) -> Decoded:
    del now_ms
    decoded = Decoded([], [])
    for position, record in enumerate(records):
        try:
            decoded.items.append(orjson.loads(record.value or b""))
        except orjson.JSONDecodeError:
            error = RefusedEventError("not_json", "expected a JSON object")
            decoded.refused.append(Refused(position, error))
    return decoded


def open_state() -> KeyedTable[str, Sum]:
    return KeyedTable(b"s", Codec(TEXT, Packed(">qd", Sum)), "sums", entries_max=1_000_000)


app = LaneApp(
    load_settings(bootstrap=BOOTSTRAP),
    dict.fromkeys((INPUT, OUTPUT, STATE, DEADLETTERS), PARTITIONS),
    CollectorRegistry(),
)
stage = Stage(
    pipeline="bench",
    name="scoring",
    group=GROUP,
    inputs=(INPUT,),
    decode=decode,
    open_state=open_state,
    changelog=STATE,
    deadletters=DEADLETTERS,
)


@app.agent(app.lanes(stage), name=stage.group, concurrency=app.concurrency(stage))
async def scorer(batches: StreamT[Batch[Transaction, KeyedTable[str, Sum]]]) -> None:
    async for batch in batches:
        async with batch as out:
            sums = out.context.state
            keys: list[bytes] = []
            values: list[bytes] = []
            for tx in batch.items:
                card = tx["card_id"]
                n, total = sums.get(card) or (0, 0.0)
                known = Sum(n + 1, total + tx["amount"])
                sums.put(card, known)
                keys.append(card.encode())
                values.append(orjson.dumps(decide(tx, known.n, known.total)))
            out.forward(OutputColumns(OUTPUT, keys, values))


async def main() -> None:
    app.finalize()
    await app.start()
    app.flow_control.resume()
    for source in app.sources:
        await app.add_runtime_dependency(source)
    # What a worker of batuta does for itself.
    gc.collect()
    gc.freeze()
    gc.set_threshold(50_000, 20, 50)
    while all(source.failure is None for source in app.sources):  # noqa: ASYNC110
        await asyncio.sleep(0.2)
    raise SystemExit(repr([source.failure for source in app.sources]))


if __name__ == "__main__":
    asyncio.run(main())
