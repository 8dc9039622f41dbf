"""The codec, measured: CPU-us per event of each way through the door, batches of 2,000.

    uv run python benchmarks/codec_cost.py

The best of 30 rounds each, on one thread. glibc gives freed memory back at the top of the heap
again and again while many small values are written; `--keep-heap` shows the cost without that.
"""

from __future__ import annotations

import argparse
import ctypes
import time
from typing import TYPE_CHECKING

import orjson

from batuta.schemas import codec
from batuta.schemas.decision import Decision
from batuta.schemas.fraud import Transaction
from batuta.schemas.ingested import Ingested
from batuta.schemas.pipeline import Source
from batuta.schemas.record import Headers, Output, Record

if TYPE_CHECKING:
    from collections.abc import Callable

BATCH = 2_000
ROUNDS = 30
NOW_MS = 1_800_000_000_000
DOOR = codec.EventCodec(
    Source(id_field="transaction_id", key_field="card_id", time_field="event_time"), Transaction
)
STRUCTURED: Headers = (("content-type", b"application/cloudevents+json"),)
M_TRIM_THRESHOLD, M_TOP_PAD = -1, -2


def measure(name: str, work: Callable[[], object]) -> None:
    work()
    best_ns = min(_round_ns(work) for _ in range(ROUNDS))
    print(f"{name:24} {best_ns / BATCH / 1000:6.2f} us/event")


def _round_ns(work: Callable[[], object]) -> int:
    started_ns = time.process_time_ns()
    work()
    return time.process_time_ns() - started_ns


def payload(number: int) -> bytes:
    return orjson.dumps(
        {
            "transaction_id": f"tx-{number:09d}",
            "event_time": "2018-04-01T10:17:43Z",
            "card_id": f"c{number}",
            "terminal_id": f"t{number}",
            "amount": 225.41,
            "currency": "EUR",
            "channel": "pos",
        }
    )


def binary(number: int) -> Headers:
    return (
        ("ce_specversion", b"1.0"),
        ("ce_id", b"tx-%09d" % number),
        ("ce_source", b"/shop/tills"),
        ("ce_type", b"card.transaction"),
        ("content-type", b"application/json"),
    )


def structured(number: int) -> bytes:
    head = b'{"specversion":"1.0","id":"1","source":"/shop","type":"sale","data":'
    return head + payload(number) + b"}"


def record(value: bytes | None, headers: Headers = ()) -> Record:
    return Record("fraud.events", 0, 0, NOW_MS, b"c1", value, headers)


def features(count: int) -> dict[str, float]:
    return {f"card_count_{number}d": float(number) for number in range(count)}


def decision(number: int) -> Decision:
    return Decision(
        event_id=f"tx-{number:09d}",
        pipeline="fraud",
        pipeline_version=1,
        tenant="default",
        entity=f"c{number}",
        event_time_ms=1_522_577_863_000 + 977 * number,
        decided_at_ms=1_522_577_863_052,
        outcome="review",
        score=0.71,
        reasons=("score_high", "large_amount"),
        model="forest@5f1d0c9a7b3e",
        features=features(12),
        input_sha256="0" * 64,
    )


def ingested(number: int) -> Ingested:
    written = payload(number)
    data = orjson.loads(written)
    return Ingested(
        f"tx-{number:09d}",
        f"c{number}",
        f"t{number}",
        1_522_577_863_000,
        NOW_MS,
        "default",
        data,
        features(6),
        data_json=written,
    )


def read(outputs: list[Output]) -> list[Record]:
    return [record(output.value, output.headers) for output in outputs]


def events() -> None:
    numbers = range(BATCH)
    batches = {
        "decode bare": [record(payload(number)) for number in numbers],
        "decode binary": [record(payload(number), binary(number)) for number in numbers],
        "decode structured": [record(structured(number), STRUCTURED) for number in numbers],
        "decode bare, 1 % bad": [
            record(payload(number) if number % 100 else b'{"amount": NaN}') for number in numbers
        ],
    }
    for name, batch in batches.items():
        measure(name, lambda batch=batch: DOOR.decode(batch, NOW_MS))


def messages() -> None:
    decisions = [decision(number) for number in range(BATCH)]
    events = [ingested(number) for number in range(BATCH)]
    measure("encode_decision", lambda: [codec.encode_decision(d, "t") for d in decisions])
    measure("encode_ingested", lambda: [codec.encode_ingested(e, "t") for e in events])
    decision_records = read([codec.encode_decision(d, "t") for d in decisions])
    ingested_records = read([codec.encode_ingested(e, "t") for e in events])
    measure("decode_decisions", lambda: codec.decode_decisions(decision_records))
    measure("decode_ingested", lambda: codec.decode_ingested(ingested_records))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--keep-heap", action="store_true", help="never give memory back (glibc)")
    if parser.parse_args().keep_heap:
        libc = ctypes.CDLL(None)
        libc.mallopt(M_TRIM_THRESHOLD, 256 << 20)
        libc.mallopt(M_TOP_PAD, 16 << 20)
    events()
    messages()


if __name__ == "__main__":
    main()
