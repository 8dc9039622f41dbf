"""The one piece of work every engine does, written once so that only the engines differ.

Decode a card transaction, keep a running count and sum per card, score it with a fixed logistic
model, encode a decision. Kafka Streams says the same in Java (`kafka_streams/Peer.java`).
"""

from __future__ import annotations

import math
import os
from typing import TypedDict

import orjson

BOOTSTRAP = os.environ.get("BENCH_BOOTSTRAP", "127.0.0.1:9092")
INPUT = os.environ.get("BENCH_INPUT", "transactions")
OUTPUT = os.environ.get("BENCH_OUTPUT", "decisions")
GROUP = os.environ.get("BENCH_GROUP", "bench")
PARTITIONS = int(os.environ.get("BENCH_PARTITIONS", "4"))
#: How often an engine commits; an empty string leaves it to the engine's default.
COMMIT_INTERVAL_MS = os.environ.get("BENCH_COMMIT_INTERVAL_MS", "")
CARDS = 5_000


class Transaction(TypedDict):
    """What comes in."""

    transaction_id: str
    event_time: str
    card_id: str
    terminal_id: str
    amount: float
    currency: str
    channel: str


class Decision(TypedDict):
    """What goes out; `n` and `total` tell what the engine remembered of the card."""

    transaction_id: str
    card_id: str
    score: float
    decision: str
    model: str
    n: int
    total: float


def transaction(number: int) -> Transaction:
    return {
        "transaction_id": f"tx-{number:09d}",
        "event_time": f"2018-04-{1 + number % 28:02d}T{number % 24:02d}:10:17.430Z",
        "card_id": f"c{number * 7919 % CARDS}",
        "terminal_id": f"t{number * 104_729 % 10_000}",
        "amount": round(1 + (number * 37 % 20_011) / 80, 2),
        "currency": "EUR",
        "channel": "pos",
    }


def event(number: int) -> tuple[bytes, bytes]:
    """Return key and value of one event."""
    made = transaction(number)
    return made["card_id"].encode(), orjson.dumps(made)


def score(amount: float, n: int, total: float) -> float:
    z = -4.0 + 0.012 * amount + 0.8 * (amount / (total / n + 1.0)) - 0.01 * n
    return 1.0 / (1.0 + math.exp(-z))


def decide(tx: Transaction, n: int, total: float) -> Decision:
    risk = score(tx["amount"], n, total)
    return {
        "transaction_id": tx["transaction_id"],
        "card_id": tx["card_id"],
        "score": round(risk, 6),
        "decision": "review" if risk > 0.9 else "allow",
        "model": "logit-1",
        "n": n,
        "total": round(total, 2),
    }
