"""Policies: what a reply may promise, and the steps that it must tell in their order.

Those here are the sample pipeline's own. A pipeline of yours gives the retriever its own, under
`with: {policies: [{title: ..., steps: [...], text: ...}]}`.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

__all__ = ["POLICIES", "Policy", "policies_of"]


@dataclass(frozen=True, slots=True)
class Policy:
    """One policy.

    Attributes:
        title: tells policies apart.
        steps: what a reply says, in this order.
        text: what else is known, and the words that people ask for it with.
    """

    title: str
    steps: tuple[str, ...]
    text: str = ""

    @property
    def whole(self) -> str:
        """All that it says, a sentence a line."""
        return "\n".join((self.title, *self.steps, *((self.text,) if self.text else ())))

    def as_passage(self) -> dict[str, object]:
        """Return it as retrieved: JSON."""
        return {"title": self.title, "steps": list(self.steps), "text": self.whole}


def policies_of(entries: Sequence[Mapping[str, object]]) -> tuple[Policy, ...]:
    """Return policies from the entries of a pipeline file.

    Raises:
        ValueError: an entry has no title or no steps, or a title stands twice.
    """
    found: dict[str, Policy] = {}
    for number, entry in enumerate(entries):
        title, steps, text = entry.get("title"), entry.get("steps"), entry.get("text", "")
        if not isinstance(title, str) or not title or title in found:
            raise ValueError(f"policy {number} has no title of its own: {title!r}")
        if not isinstance(steps, list) or not steps or not isinstance(text, str):
            raise ValueError(f"policy {title!r} has no steps; add steps: [first, second]")
        found[title] = Policy(title, tuple(str(step) for step in steps), text)
    return tuple(found.values())


POLICIES: Final = (
    Policy(
        "Refund of a payment",
        (
            "We look up the payment by its date and amount.",
            "We check that the goods were returned or never delivered.",
            "The refund is booked to the means of payment that you used.",
            "You see it on your statement after 5 working days.",
        ),
        "Asked for as: money back, refund, wrong charge, charged twice, return of goods.",
    ),
    Policy(
        "Lost or stolen card",
        (
            "We block the card at once.",
            "You confirm your identity with the code that the app shows.",
            "A new card goes to the address on file within 7 days.",
        ),
        "Asked for as: lost card, stolen card, wallet gone, block my card, replacement card.",
    ),
    Policy(
        "Late delivery",
        (
            "We ask the carrier where the parcel is.",
            "You hear from us by the next working day.",
            "A parcel that is not found within 10 days is sent again free of charge.",
        ),
        "Asked for as: parcel missing, order not arrived, where is my package, delivery delayed.",
    ),
    Policy(
        "Forgotten password",
        (
            "Choose the link below the login form.",
            "Open the mail that arrives and follow it within 30 minutes.",
            "Set a password of at least 12 characters.",
        ),
        "Asked for as: cannot log in, reset password, forgot password, locked out of the account.",
    ),
    Policy(
        "Copy of an invoice",
        (
            "Log in and open the page of your orders.",
            "Choose the month, then the invoice.",
            "Download it as a file, or let it be mailed to your accounting.",
        ),
        "Asked for as: invoice, receipt, bill of last month, tax document, question about invoice.",
    ),
    Policy(
        "End of a subscription",
        (
            "Open the settings and choose the subscription.",
            "Confirm the date at which it ends.",
            "What is paid beyond that date is returned within 14 days.",
        ),
        "Asked for as: cancel subscription, stop renewal, end contract, close my plan.",
    ),
    Policy(
        "Outage of the service",
        (
            "Our engineers are told at once.",
            "We call you back on the number on file within the hour.",
            "Orders that were lost meanwhile are entered again by us.",
        ),
        "Asked for as: shop is down, total outage, payments stopped, system not working, urgent.",
    ),
    Policy(
        "Thanks and good news",
        ("It is good to know that it works again.",),
        "Said as: thank you, thanks, it works, we are happy, greetings from the team.",
    ),
)
