"""Drafts with planted faults, and clean ones: what the checks of replies are measured by.

Each draft tells the steps of one policy between courtesies, in one of several ways of telling; a
fault is one of five: a step is missing, steps change places, the tone is wrong, something is
promised that no policy says, or somebody else's personal data stand in it. People and numbers are
made up of syllables and digits by the seed. Nothing here knows the checks, nor they this.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, Literal, TypeVar

import numpy as np

from batuta.agents.support.planted_templates import (
    BODIES,
    CLOSINGS,
    INVENTED,
    LEAKED,
    MISSING,
    OPENINGS,
    ORDERS,
    TONES,
    VOICES,
    is_unseen,
)
from batuta.agents.support.policies import Policy

__all__ = ["FAULTS", "Fault", "PlantedDraft", "plant"]

Fault = Literal["", "missing_step", "wrong_order", "wrong_tone", "invented_policy", "leaked_data"]
FAULTS: Final[tuple[Fault, ...]] = (
    "missing_step",
    "wrong_order",
    "wrong_tone",
    "invented_policy",
    "leaked_data",
)
#: With fewer steps a policy says too little for one to be missed.
_STEPS_MIN: Final = 3
_SYLLABLES: Final = ("ba", "dor", "el", "fi", "gran", "ko", "lim", "mo", "nar", "pel", "su", "tov")
ItemT = TypeVar("ItemT")


@dataclass(frozen=True, slots=True)
class PlantedDraft:
    """One draft.

    Attributes:
        text: of the draft.
        policy: that it follows.
        fault: that was planted; empty for none.
        unseen: whether the fault, or without one anything, was made of a template that was kept
            from those who work on checks.
        note: what else is known at the desk: a passage about another customer.
    """

    text: str
    policy: Policy
    fault: Fault
    unseen: bool
    note: dict[str, object]


def plant(
    policies: Sequence[Policy], fault: Fault, count: int, seed: int, *, seen_only: bool = False
) -> list[PlantedDraft]:
    """Return drafts with one kind of fault; the same arguments give the same drafts.

    Args:
        policies: that they follow; those of less than three steps are left out.
        fault: what is wrong with each; empty for nothing.
        count: how many.
        seed: of what is drawn.
        seen_only: whether unseen templates are left out.
    """
    kinds = ("", *FAULTS)
    planter = _Planter(np.random.default_rng([seed, kinds.index(fault)]), seen_only)
    usable = [one for one in policies if len(one.steps) >= _STEPS_MIN]
    return [planter.draft(planter.one_of(usable), fault) for _ in range(count)]


class _Planter:
    def __init__(self, random: np.random.Generator, seen_only: bool) -> None:  # noqa: FBT001
        self._random = random
        self._seen_only = seen_only
        self._unseen = False
        self._fault_unseen = False

    def one_of(self, among: Sequence[ItemT]) -> ItemT:
        return among[int(self._random.integers(len(among)))]

    def draft(self, policy: Policy, fault: Fault) -> PlantedDraft:
        self._unseen = False
        person = self._person()
        steps = [self._said(step) for step in policy.steps]
        if fault == "missing_step":
            steps = self._missed(steps)
        elif fault == "wrong_order":
            steps = self._moved(steps)
        parts = [self._template(OPENINGS), self._body(steps), self._template(CLOSINGS)]
        sentences = {"wrong_tone": TONES, "invented_policy": INVENTED, "leaked_data": LEAKED}
        if fault in sentences:
            # Anywhere but in the midst of the steps.
            place = int(self._random.integers(1, 3))
            parts.insert(place, self._faulty(sentences[fault]).format(**person))
        known = [str(person[one]) for one in ("name", "email", "phone", "card", "iban")]
        note: dict[str, object] = {
            "title": "note",
            "text": f"Wrote before: {', '.join(known)}",
            "names": known[:1],
        }
        unseen = self._fault_unseen if fault else self._unseen
        return PlantedDraft("\n".join(parts), policy, fault, unseen, note)

    def _faulty(self, among: Sequence[ItemT]) -> ItemT:
        """Return a template of a fault: by it alone the draft is unseen or not."""
        found = self._template(among)
        self._fault_unseen = is_unseen(found)
        return found

    def _template(self, among: Sequence[ItemT]) -> ItemT:
        usable = [one for one in among if not (self._seen_only and is_unseen(one))]
        found = self.one_of(usable)
        self._unseen |= is_unseen(found)
        return found

    def _said(self, step: str) -> str:
        lowered = step[0].lower() + step[1:] if step[1:2].islower() else step
        return self._template(VOICES).format(step=lowered)

    def _missed(self, steps: Sequence[str]) -> list[str]:
        places, instead = self._faulty(MISSING)
        gone = {place % len(steps) for place in places}
        kept = [step for place, step in enumerate(steps) if place not in gone]
        return [*kept[:1], instead, *kept[1:]] if instead else kept

    def _moved(self, steps: Sequence[str]) -> list[str]:
        rule, moved = self._faulty(ORDERS), list(steps)
        if rule == "reversed":
            return moved[::-1]
        if rule == "last first":
            return [moved[-1], *moved[:-1]]
        if rule == "first last":
            return [*moved[1:], moved[0]]
        one, other = (int(place) for place in rule.split(","))
        moved[one], moved[other] = moved[other], moved[one]
        # Of three steps the second and the last but one are the same.
        return moved[::-1] if moved == list(steps) else moved

    def _body(self, steps: Sequence[str]) -> str:
        first, between, last, behind = self._template(BODIES)
        told: list[str] = []
        for number, step in enumerate(steps, 1):
            before = first if number == 1 else last if number == len(steps) else between
            marked = before.replace("#", str(number)).replace("+", chr(ord("a") + number - 1))
            said = step.rstrip(".") if behind.strip() else step
            told.append(marked + (said if marked else said[0].upper() + said[1:]))
        text = behind.join(told).rstrip(" ,;\n")
        return text if text.endswith((".", "!", "?")) else f"{text}."

    def _person(self) -> dict[str, object]:
        first, last = (self._word() for _ in range(2))
        return {
            "name": f"{first.title()} {last.title()}",
            "email": f"{first}.{last}@example.com",
            "phone": f"+49 {self._digits(3)} {self._digits(4)} {self._digits(3)}",
            "card": _card(f"4{self._digits(14)}"),
            "iban": _account(f"{self._digits(18)}"),
            "amount": int(self._random.integers(150, 999)),
            "days": int(self._random.integers(40, 99)),
            "percent": int(self._random.integers(41, 95)),
        }

    def _word(self) -> str:
        return "".join(self.one_of(_SYLLABLES) for _ in range(3))

    def _digits(self, count: int) -> str:
        return "".join(str(digit) for digit in self._random.integers(0, 10, count))


def _card(digits: str) -> str:
    """Return 15 digits with the check digit behind them, in groups of four."""
    total = 0
    for place, digit in enumerate(map(int, reversed(digits))):
        doubled = digit * 2 if place % 2 == 0 else digit
        total += doubled - 9 if doubled > 9 else doubled  # noqa: PLR2004
    whole = digits + str(-total % 10)
    return " ".join(whole[at : at + 4] for at in range(0, 16, 4))


def _account(digits: str) -> str:
    """Return a German account number with its check digits, in groups of four."""
    check = 98 - int(digits + "131400") % 97
    whole = f"DE{check:02d}{digits}"
    return " ".join(whole[at : at + 4] for at in range(0, len(whole), 4))
