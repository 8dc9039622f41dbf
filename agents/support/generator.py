"""Short messages as customers write them: samples.

Drawn from the seed alone, a millisecond apart: most ask for what a policy answers, some are urgent,
some neither clearly, a few no message at all. With them come quotations and addresses that nobody
needs to read.
"""

from collections.abc import Iterator, Mapping
from typing import Final

import numpy as np
import orjson

from batuta.agents.samples import Clock, SampleEvent
from batuta.schemas.times import rfc3339

__all__ = ["intended_samples", "message_samples"]

_CUSTOMERS: Final = 200
_CHANNELS: Final = ("email", "chat", "form")
_BEFORE: Final = ("", "", "Hello, ", "Hi, ", "Good morning. ", "> we wrote to you\n")
_BEHIND: Final = (
    "",
    "",
    " Please help.",
    " Thank you.",
    " My address is {address}.",
    " Kind regards from the team.",
)
_ROUTINE: Final[Mapping[str, tuple[str, ...]]] = {
    "refund": (
        "I was charged twice and want my money back.",
        "How do I get a refund for the goods that I sent back?",
        "There is a wrong charge on my statement, please return the payment.",
    ),
    "lost_card": (
        "I cannot find my card, please block it.",
        "My wallet is gone and the card with it, I need a replacement card.",
        "Somebody stole my card.",
    ),
    "delivery": (
        "My parcel has not arrived, where is it?",
        "The delivery is delayed since last week.",
        "The order was not delivered and the carrier says nothing.",
    ),
    "password": (
        "I forgot my password and cannot log in.",
        "How do I reset the password of my account?",
        "I am locked out of the account, the login form refuses my password.",
    ),
    "invoice": (
        "I have a question about the invoice of last month, please send it to {address}.",
        "Where do I find the receipt of my orders?",
        "Our accounting needs a copy of the bill.",
    ),
    "subscription": (
        "I want to cancel my subscription.",
        "How can I stop the renewal of the contract?",
        "Please close my plan at the end of the month.",
    ),
    "thanks": (
        "Thank you, it works again and we are happy.",
        "Thanks for the good news, it works.",
        "Gracias por la ayuda, es una maravilla.",
        "Danke, das ist nicht mehr nötig.",
    ),
}
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
    return (sample for _, sample in intended_samples(seed, now_ms, clock))


def intended_samples(
    seed: int, now_ms: int, clock: Clock | None = None
) -> Iterator[tuple[str, SampleEvent]]:
    """Yield messages without end, each with what it is meant to say."""
    random = np.random.default_rng(seed)
    number = 0
    while True:
        intent, text = _message(random)
        customer = f"k-{int(random.integers(_CUSTOMERS))}"
        message_id = f"m-{seed}-{number:09d}"
        message = {
            "message_id": message_id,
            "sent_at": rfc3339(now_ms + number if clock is None else clock()),
            "customer_id": customer,
            "channel": _one(random, _CHANNELS),
            "text": text.format(address=f"{customer}@example.com"),
        }
        urgent = intent == "outage"
        yield (
            intent,
            SampleEvent(message_id, customer, orjson.dumps(message), b"", positive=urgent),
        )
        number += 1


def _message(random: np.random.Generator) -> tuple[str, str]:
    kind = int(random.choice(4, p=(0.8, 0.1, 0.08, 0.02)))
    if kind == 1:
        return "outage", _one(random, _URGENT)
    if kind == 2:  # noqa: PLR2004 - the third kind
        return "unclear", _one(random, _UNCLEAR)
    if kind:
        return "noise", _one(random, _NOISE)
    intent = _one(random, tuple(_ROUTINE))
    text = _one(random, _ROUTINE[intent])
    return intent, _one(random, _BEFORE) + text + _one(random, _BEHIND)


def _one(random: np.random.Generator, among: tuple[str, ...]) -> str:
    return among[int(random.integers(len(among)))]
