"""Plans: who is asked, as trees.

Ask        one model
Sequence   one after the other; later steps may read what earlier ones answered
Parallel   all at once, their answers combined
Cascade    from cheap to strong, until one is sure enough
Fallback   the next one only where the one before gave no answer
Checked    an answer that a checkpoint has passed, corrected where it can be, or none
Planned    what a planner proposes for each event, or a plan of the file
Steered    what a model had a say in that is none of it: it has proposed it, or led to its choice
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Final, Literal, Protocol

from batuta.agents.policy.expressions import Expression
from batuta.agents.verification.checkpoint import Checkpoint

__all__ = [
    "AGAIN",
    "Ask",
    "Cascade",
    "Checked",
    "Combine",
    "Fallback",
    "Node",
    "Parallel",
    "Planned",
    "Proposal",
    "Proposes",
    "Sequence",
    "Steered",
    "always_answering",
    "answered_before",
    "answering",
    "answers_together",
    "asked_model",
    "checked_within",
    "lone_ask",
    "may_answer",
    "models_of",
    "people_of",
    "sole_answering",
    "text_of",
]

Combine = Literal["mean", "vote", "weighted"]
#: Behind a planner's name where its second plan is meant; no name of a file has a point.
AGAIN: Final = ".again"


@dataclass(frozen=True, slots=True)
class Ask:
    """One model answers.

    Attributes:
        model: its name.
        person: whether it is a person, who is asked by a case and answers in their own time.
    """

    model: str
    person: bool = False


@dataclass(frozen=True, slots=True)
class Sequence:
    """The last step's answer counts; a step without answer ends it without one."""

    steps: "tuple[Node, ...]"


@dataclass(frozen=True, slots=True)
class Parallel:
    """All steps are asked at once.

    Attributes:
        combine: mean of the scores; share of votes (0.5 and more); mean by `weights`.
        weights: one per step.
        quorum: so many answers are needed.
        first: whether the quorum is enough; else all are waited for.
        within_ms: from the plan's beginning; then what is there counts, if it is a quorum.
    """

    steps: "tuple[Node, ...]"
    combine: Combine
    weights: tuple[float, ...]
    quorum: int
    first: bool = False
    within_ms: int | None = None


@dataclass(frozen=True, slots=True)
class Cascade:
    """The first answer for which `stop` holds counts, else the last one there is.

    Attributes:
        stop: of `score` and `confidence`.
    """

    steps: "tuple[Node, ...]"
    stop: Expression


@dataclass(frozen=True, slots=True)
class Fallback:
    """The first answer there is counts; one from behind the first step is marked."""

    steps: "tuple[Node, ...]"


@dataclass(frozen=True, slots=True)
class Checked:
    """The answer of a step counts once it has passed a checkpoint.

    Attributes:
        checkpoint: what it must pass.
    """

    step: "Node"
    checkpoint: Checkpoint

    @property
    def steps(self) -> "tuple[Node, ...]":
        """The step, and the models that judge its answer."""
        return (self.step, *(Ask(one.model) for one in self.checkpoint.validators))

    @property
    def remedies(self) -> "tuple[Ask, ...]":
        """Who is asked only where an answer has not passed."""
        others = (one for one in self.checkpoint.remedies.each if one.stands_in)
        return tuple(Ask(name, person=one.kind == "human") for one in others for name in one.asks)


@dataclass(frozen=True, slots=True)
class Proposal:
    """What a planner's answer came to.

    Attributes:
        node: what is followed; None: nothing.
        text: as canonical JSON; empty where there is nothing to follow.
        refused: why it is not followed; empty where it is.
    """

    node: "Node | None" = None
    text: str = ""
    refused: str = ""

    @property
    def kept(self) -> Mapping[str, str]:
        """What is kept of the answer: judged again, it comes to the same."""
        return {"refused": self.refused} if self.refused else {"plan": self.text}


class Proposes(Protocol):
    """A planner, as plans see it.

    Attributes:
        model: its name.
        turns: under which names it is heard.
        allowed: whom its plans may ask.
    """

    model: str
    turns: tuple[str, ...]
    allowed: tuple[Ask, ...]

    def judge(self, value: object) -> Proposal:
        """Return what an answer's value comes to, whatever it is."""
        ...


@dataclass(frozen=True, slots=True)
class Planned:
    """What a planner proposes; the plan of the file where it proposes nothing that is followed.

    Attributes:
        static: the plan of the file.
        planner: who proposes, and what may be proposed.
    """

    static: "Node"
    planner: "Proposes"

    @property
    def steps(self) -> "tuple[Node, ...]":
        """The plan of the file, the planner, and whom it may plan with."""
        return (self.static, Ask(self.planner.model), *self.planner.allowed)


@dataclass(frozen=True, slots=True)
class Steered:
    """A plan that planners have proposed, or that is chosen by what a model has understood.

    What it comes to is tainted as the answers of these are.

    Attributes:
        planners: under which names they were heard.
    """

    step: "Node"
    planners: tuple[str, ...]

    @property
    def steps(self) -> "tuple[Node, ...]":
        """The plan."""
        return (self.step,)


Node = Ask | Sequence | Parallel | Cascade | Fallback | Checked | Planned | Steered


def asked_model(name: str) -> str:
    """Return which model is asked under a name.

    >>> asked_model("strategist.again"), asked_model("strategist")
    ('strategist', 'strategist')
    """
    return name.removesuffix(AGAIN)


def lone_ask(node: Node) -> Ask | None:
    """Return who is asked where that is a plan's one step, whoever steers it; else None.

    >>> lone_ask(Steered(Ask("a"), ("strategist",))), lone_ask(Sequence((Ask("a"), Ask("b"))))
    (Ask(model='a', person=False), None)
    """
    node = node.step if isinstance(node, Steered) else node
    return node if isinstance(node, Ask) else None


def text_of(node: Node) -> str:
    """Return a plan in one line, as people read it.

    >>> text_of(Fallback((Ask("sequence"), Parallel((Ask("a"), Ask("b")), "mean", (1.0, 1.0), 1))))
    'sequence, else (mean of (a & b), 1 needed)'
    """
    if isinstance(node, Ask):
        return node.model
    if isinstance(node, Checked | Planned | Steered):
        return _around_text(node)
    steps = [
        text_of(step) if isinstance(step, Ask) else f"({text_of(step)})" for step in node.steps
    ]
    if isinstance(node, Sequence):
        return " then ".join(steps)
    if isinstance(node, Fallback):
        return ", else ".join(steps)
    if isinstance(node, Cascade):
        return f"{' up to '.join(steps)} until {node.stop.text}"
    within = "" if node.within_ms is None else f" within {node.within_ms}ms"
    needed = f"the first {node.quorum}" if node.first else f"{node.quorum} needed"
    return f"{node.combine} of ({' & '.join(steps)}), {needed}{within}"


def _around_text(node: Checked | Planned | Steered) -> str:
    if isinstance(node, Planned):
        return f"as {node.planner.model} plans, else ({text_of(node.static)})"
    inner = text_of(node.step)
    if isinstance(node, Steered):
        return inner
    remedies = ", then ".join(one.text for one in node.checkpoint.remedies.each)
    tried = f", on failure: {remedies}" if remedies else ""
    return f"{inner}, checked: {', '.join(node.checkpoint.names)}{tried}"


def people_of(node: Node) -> Iterator[str]:
    """Yield the people of a plan, each time they stand in it, in order."""
    if isinstance(node, Ask):
        if node.person:
            yield node.model
        return
    for step in _everybody(node):
        yield from people_of(step)


def models_of(node: Node, *, remedies: bool = True) -> Iterator[str]:
    """Yield the models and people of a plan, each time they stand in it, in order.

    Args:
        node: the plan.
        remedies: whether those are among them who are asked only where an answer has not passed.
    """
    if isinstance(node, Ask):
        yield node.model
        return
    for step in _everybody(node) if remedies else node.steps:
        yield from models_of(step, remedies=remedies)


def answered_before(
    node: Node, before: frozenset[str] = frozenset()
) -> Iterator[tuple[str, frozenset[str]]]:
    """Yield each model of a plan, and who may have answered by the time that it is asked.

    Steps of a parallel plan are asked at once, so that none of them can count on another's answer.

    >>> both = Parallel((Ask("b"), Ask("c")), "mean", (1.0, 1.0), 2)
    >>> [(name, sorted(known)) for name, known in answered_before(Sequence((Ask("a"), both)))]
    [('a', []), ('b', ['a']), ('c', ['a'])]
    """
    if isinstance(node, Ask):
        yield node.model, before
        return
    for step in _everybody(node):
        yield from answered_before(step, before)
        if not isinstance(node, Parallel):
            before = before.union(models_of(step))


def answering(node: Node) -> str:
    """Return the model of a plan whose answer is the plan's, if all goes as it is written.

    >>> answering(Sequence((Ask("a"), Fallback((Ask("b"), Ask("c"))))))
    'c'
    """
    while not isinstance(node, Ask):
        node = node.step if isinstance(node, Checked) else node.steps[-1]
    return node.model


def may_answer(node: Node) -> Iterator[str]:
    """Yield those of a plan whose answer alone may come to be the plan's.

    >>> list(may_answer(Sequence((Ask("a"), Fallback((Ask("b"), Ask("c")))))))
    ['b', 'c']
    """
    if isinstance(node, Ask):
        yield node.model
    elif isinstance(node, Cascade | Fallback):
        for step in node.steps:
            yield from may_answer(step)
    elif not isinstance(node, Parallel):
        yield from may_answer(_last(node))
        yield from (ask.model for ask in (node.remedies if isinstance(node, Checked) else ()))


def always_answering(node: Node) -> str | None:
    """Return who has answered, alone, whenever a plan has; None where nobody is sure to.

    >>> always_answering(Sequence((Ask("a"), Fallback((Ask("b"), Ask("c"))))))
    'b'
    """
    if isinstance(node, Ask):
        return node.model
    if isinstance(node, Parallel):
        return None
    first = node.steps[0] if isinstance(node, Cascade | Fallback) else _last(node)
    return always_answering(first)


def answers_together(node: Node) -> bool:
    """Say whether the answers of several, taken together, may come to be the plan's.

    >>> both = Parallel((Ask("b"), Ask("c")), "mean", (1.0, 1.0), 2)
    >>> answers_together(Fallback((Ask("a"), both))), answers_together(Sequence((both, Ask("a"))))
    (True, False)
    """
    if isinstance(node, Cascade | Fallback):
        return any(answers_together(step) for step in node.steps)
    if isinstance(node, Ask | Parallel):
        return isinstance(node, Parallel)
    return answers_together(_last(node))


def sole_answering(node: Node) -> str | None:
    """Return the one whose answer a plan's is, where it can be nobody else's; else None."""
    names = set(may_answer(node))
    return names.pop() if len(names) == 1 and not answers_together(node) else None


def _last(node: Checked | Planned | Sequence | Steered) -> Node:
    """Return the step whose answer is a plan's."""
    if isinstance(node, Sequence):
        return node.steps[-1]
    return node.static if isinstance(node, Planned) else node.step


def checked_within(node: Node) -> Iterator[Checked]:
    """Yield the checked steps of a plan, itself among them."""
    if isinstance(node, Ask):
        return
    if isinstance(node, Checked):
        yield node
    for step in node.steps:
        yield from checked_within(step)


def _everybody(node: "Node") -> "tuple[Node, ...]":
    if isinstance(node, Ask):
        return ()
    return (*node.steps, *node.remedies) if isinstance(node, Checked) else node.steps
