"""The work alone, without Kafka: prints its CPU-us per event."""

from __future__ import annotations

import gc
import sys
import time

import orjson
from work import decide, event


def main() -> None:
    values = [event(number)[1] for number in range(int(sys.argv[1]))]
    gc.collect()
    gc.freeze()
    cards: dict[str, tuple[int, float]] = {}
    started = time.process_time()
    for value in values:
        tx = orjson.loads(value)
        card = tx["card_id"]
        n, total = cards.get(card, (0, 0.0))
        n, total = n + 1, total + tx["amount"]
        cards[card] = (n, total)
        orjson.dumps(decide(tx, n, total))
    print((time.process_time() - started) / len(values) * 1e6)


if __name__ == "__main__":
    main()
