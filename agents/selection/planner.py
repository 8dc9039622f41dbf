"""A planner's proposals: judged once each, remembered by what they say, and what became of them.

Whoever plans is a model: it may be wrong, and what it reads may have been written to mislead it. So
a proposal is input like any other: read strictly, compared with what its pipeline allows, and
compiled by the grammar of the pipeline file. The judgement is a function of the proposal and the
file alone, so that it repeats.

    planner.judge({"plan": {"ask": "forest"}}).node            # what is followed
    planner.judge({"plan": {"ask": "safe"}}).refused           # "model_not_allowed"
"""

from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final

from batuta.agents.delegation.plans import AGAIN, Ask, Node, Proposal
from batuta.agents.selection.proposals import (
    REFUSALS,
    ProposalRefused,
    canonical_plan,
    refusal_of,
)
from batuta.schemas.decision import Selection

__all__ = [
    "BRIEFING",
    "FOLLOWED",
    "PROPOSED",
    "REPLANNED",
    "UNANSWERED",
    "Planner",
    "PlannerLimits",
    "Proposals",
    "outcome_of",
    "selection_of",
]

#: Under which name a planner reads what it may plan with.
BRIEFING: Final = "briefing"
#: What stands for a plan's name in the record of one that a planner has proposed.
PROPOSED: Final = "proposed"
FOLLOWED: Final = "followed"
REPLANNED: Final = "replanned"
#: Why the plan of the file stands where the one that was followed has come to nothing.
UNANSWERED: Final = "unanswered"
#: So many proposals are remembered: planners say few things, over and over.
_REMEMBERED_MAX: Final = 256


@dataclass(frozen=True, slots=True)
class PlannerLimits:
    """What a proposal may be.

    Attributes:
        bytes_max: as canonical JSON.
        depth_max, steps_max: plans that it names looked through.
        price_nano: what it may cost with each of its models asked, billionths; None: anything.
        replans: how often a planner may plan once more, 0 or 1.
    """

    bytes_max: int = 4_096
    depth_max: int = 4
    steps_max: int = 16
    price_nano: int | None = None
    replans: int = 0


class Planner:
    """One pipeline's planner.

    Attributes:
        model: its name.
        turns: under which names it is heard: once, or twice where it may plan once more.
        allowed: whom its plans may ask.
        limits: of a plan.
        briefing: what it is told beside the event, as JSON: skill cards, plans, grammar, limits.
    """

    def __init__(
        self,
        model: str,
        allowed: tuple[Ask, ...],
        compile_: Callable[[str], Node],
        limits: PlannerLimits,
        briefing: bytes = b"{}",
    ) -> None:
        """Remember no proposal yet.

        Args:
            model: who plans.
            allowed: whom its plans may ask.
            compile_: makes a plan of canonical JSON, or raises ProposalRefused.
            limits: of a plan.
            briefing: what it is told beside the event, as JSON.
        """
        self.model = model
        self.turns = (model, f"{model}{AGAIN}")[: limits.replans + 1]
        self.allowed = allowed
        self.limits = limits
        self.briefing = briefing
        self._compile = compile_
        self._judged: OrderedDict[str, Proposal] = OrderedDict()

    def judge(self, value: object) -> Proposal:
        """Return what an answer's value comes to, whatever it is."""
        if (refused := refusal_of(value)) is not None:
            return Proposal(refused=refused)
        try:
            text = canonical_plan(value, self.limits.bytes_max)
        except ProposalRefused as refusal:
            return Proposal(refused=refusal.reason)
        found = self._judged.get(text)
        if found is None:
            found = self._judged[text] = self._compiled(text)
            if len(self._judged) > _REMEMBERED_MAX:
                self._judged.popitem(last=False)
        else:
            self._judged.move_to_end(text)
        return found

    def remade(self, change: Callable[[Node], Node]) -> "Planner":
        """Return a planner all of whose plans are changed so."""
        allowed = tuple(one for one in map(change, self.allowed) if isinstance(one, Ask))

        def changed(text: str) -> Node:
            return change(self._compile(text))

        return Planner(self.model, allowed, changed, self.limits, self.briefing)

    def _compiled(self, text: str) -> Proposal:
        try:
            return Proposal(self._compile(text), text)
        except ProposalRefused as refusal:
            return Proposal(refused=refusal.reason)


@dataclass(slots=True)
class Proposals:
    """What planners have proposed about the rows of a batch.

    Attributes:
        turns: by the name under which a planner was heard, and row.
        unfollowed: the rows for which the plan of the file stands.
    """

    turns: dict[str, dict[int, Proposal]] = field(default_factory=dict[str, dict[int, Proposal]])
    unfollowed: set[int] = field(default_factory=set[int])

    def __bool__(self) -> bool:
        """Say whether there are any."""
        return bool(self.turns)

    def turn(self, name: str) -> dict[int, Proposal]:
        """Return the proposals heard under a name, by row."""
        return self.turns.setdefault(name, {})

    def of(self, row: int) -> tuple[Proposal, ...]:
        """Return the proposals about one row, in order."""
        return tuple(turn[row] for turn in self.turns.values() if row in turn)


def selection_of(
    choice: Selection | None, proposals: Proposals, row: int, cost: tuple[int, str] = (0, "")
) -> Selection | None:
    """Return which plan one row has followed.

    Args:
        choice: the plan of the file that was chosen for it.
        proposals: what planners have proposed.
        row: which one.
        cost: of the planner's answers: billionths, and of which currency.
    """
    found = proposals.of(row)
    if choice is None or not found:
        return choice
    planner = next(iter(proposals.turns))
    texts = [one.text for one in found if one.text]
    proposal = texts[0] if len(texts) == 1 else f"[{','.join(texts)}]" if texts else ""
    if row in proposals.unfollowed:
        planning = found[-1].refused or UNANSWERED
        reason = f"{choice.reason}; not what {planner} plans: {planning}"
        choice = choice._replace(reason=reason, proposal=proposal, planning=planning)
        return choice._replace(planning_cost_nano=cost[0], planning_currency=cost[1])
    planning = FOLLOWED if len(found) == 1 else REPLANNED
    again = "" if len(found) == 1 else " once more, as a model of its first plan has failed"
    reason = f"{planner} plans so{again}; else {choice.plan}"
    return Selection(PROPOSED, "planner", reason, 1.0, {PROPOSED: 1.0}, proposal, planning, *cost)


def outcome_of(planning: str) -> str:
    """Return in one of few words what became of a proposal.

    >>> outcome_of("model_not_allowed"), outcome_of("timeout"), outcome_of("replanned")
    ('refused', 'unheard', 'replanned')
    """
    if planning in {FOLLOWED, REPLANNED, UNANSWERED}:
        return planning
    return "refused" if planning in REFUSALS else "unheard"
