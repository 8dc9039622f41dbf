"""Short messages as customers write them: samples.

Drawn from the seed alone, a millisecond apart: most are routine, some urgent, some neither clearly,
a few no message at all. With them come quotations and addresses that nobody needs to read.
"""

from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Final

import numpy as np
import orjson

from batuta.agents.samples import Clock, SampleEvent

__all__ = ["message_samples"]

_CUSTOMERS: Final = 200
_CHANNELS: Final = ("email", "chat", "form")
_ROUTINE: Final = (
    "Thank you, it works again and we are happy.",
    "I have a question about the invoice of last month, please send it to {address}.",
    "Gracias por la ayuda, es una maravilla.",
    "Danke, das ist nicht mehr nötig.",
    "> we wrote to you\nThanks, and greetings from the team.",
)
_URGENT: Final = (
    "Our whole shop is down since this morning, this is urgent!",
    "Total outage: the payments stopped and we lost orders.",
    "El sistema está caído y es urgente, por favor.",
    "Ausfall in der Filiale, bitte dringend!",
)
_UNCLEAR: Final = (
    "It is down sometimes, my phone is 600 123 456 789.",
    "We lost the password and stopped to try, please help.",
    "The export is urgent for one of us.",
)
_NOISE: Final = ("...", "????", "asdf")


def message_samples(seed: int, now_ms: int, clock: Clock | None = None) -> Iterator[SampleEvent]:
    """Yield messages without end; see `batuta.agents.samples.Samples`."""
    random = np.random.default_rng(seed)
    number = 0
    while True:
        kind = random.choice(4, p=(0.8, 0.1, 0.08, 0.02))
        texts = (_ROUTINE, _URGENT, _UNCLEAR, _NOISE)[int(kind)]
        customer = f"k-{int(random.integers(_CUSTOMERS))}"
        text = texts[int(random.integers(len(texts)))].format(address=f"{customer}@example.com")
        message = {
            "message_id": f"m-{seed}-{number:09d}",
            "sent_at": _rfc3339(now_ms + number if clock is None else clock()),
            "customer_id": customer,
            "channel": _CHANNELS[int(random.integers(len(_CHANNELS)))],
            "text": text,
        }
        urgent = texts is _URGENT
        yield SampleEvent(
            f"m-{seed}-{number:09d}", customer, orjson.dumps(message), b"", positive=urgent
        )
        number += 1


def _rfc3339(time_ms: int) -> str:
    moment = datetime.fromtimestamp(time_ms / 1_000, UTC)
    return moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")
