# /// script
# requires-python = ">=3.11,<3.13"
# dependencies = ["pathway==0.33.0", "orjson==3.13.0"]
# ///
"""Pathway, stateless: its running aggregates retract and emit again, which is other work.

Each row is scored as the first of its card.
"""

from __future__ import annotations

import pathway as pw
from work import BOOTSTRAP, COMMIT_INTERVAL_MS, GROUP, INPUT, OUTPUT, score


class Transaction(pw.Schema):
    transaction_id: str
    event_time: str
    card_id: str
    terminal_id: str
    amount: float
    currency: str
    channel: str


def risk(amount: float) -> float:
    return round(score(amount, 1, amount), 6)


def verdict(amount: float) -> str:
    return "review" if score(amount, 1, amount) > 0.9 else "allow"


transactions = pw.io.kafka.read(
    {
        "bootstrap.servers": BOOTSTRAP,
        "group.id": GROUP,
        "auto.offset.reset": "earliest",
        "session.timeout.ms": "6000",
    },
    topic=INPUT,
    schema=Transaction,
    format="json",
    autocommit_duration_ms=int(COMMIT_INTERVAL_MS or 100),
)
decisions = transactions.select(
    transaction_id=transactions.transaction_id,
    card_id=transactions.card_id,
    score=pw.apply(risk, transactions.amount),
    decision=pw.apply(verdict, transactions.amount),
    model="logit-1",
    n=1,
    total=transactions.amount,
)
pw.io.kafka.write(decisions, {"bootstrap.servers": BOOTSTRAP}, topic_name=OUTPUT, format="json")

if __name__ == "__main__":
    pw.run(monitoring_level=pw.MonitoringLevel.NONE)
