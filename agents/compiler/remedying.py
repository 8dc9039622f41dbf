"""Compiles `on_failure`: the remedies of a checkpoint, whom they ask, and who takes a critique."""

from collections.abc import Callable, Collection
from dataclasses import dataclass, field
from typing import cast

from batuta.agents.delegation.plans import Node, always_answering, models_of
from batuta.agents.models.port import CRITIQUE
from batuta.agents.verification.remedies import Remedies, Remedy, RemedyKind, Repair
from batuta.schemas.pipeline_file.file import PipelineFile
from batuta.schemas.pipeline_file.person import PERSON
from batuta.schemas.pipeline_file.problems import Path, did_you_mean
from batuta.schemas.pipeline_file.remedy_entries import OnFailureEntry, RemedyEntry

__all__ = ["Note", "Remedying"]

#: Notes what is wrong: where, which value, what about it.
Note = Callable[[Path, object, str], None]


@dataclass(frozen=True)
class Remedying:
    """Makes remedies of what stands under `on_failure`.

    Attributes:
        file: whose models may be asked.
        part: returns what was imported for a path; None where nothing was.
        note: hears what is wrong.
    """

    file: PipelineFile
    part: Callable[[Path], object]
    note: Note
    #: Who is asked instead of a step, by where that stands; and where it may help in some plan.
    _asked: dict[Path, str] = field(default_factory=dict[Path, str])
    _helpful: set[Path] = field(default_factory=set[Path])

    def remedies(
        self, entry: OnFailureEntry, path: Path, step: Node, reasons: Collection[str]
    ) -> Remedies:
        """Return the remedies of one checkpoint.

        Args:
            entry: as the file has it.
            path: where its remedies stand.
            step: what is checked.
            reasons: why its answer may fail.
        """
        found: list[Remedy] = []
        for number, one in enumerate(entry.remedies):
            at: Path = (*path, number)
            remedy = self._remedy(one, at, step)
            if remedy is None:
                continue
            if any(other.name == remedy.name for other in found):
                self.note(at, remedy.name, "stands twice; keep one")
                continue
            if one.human is not None and one is not entry.remedies[-1]:
                what = "is a person, and people stand last; put it there"
                self.note((*at, "human"), one.human, what)
            self._check_reasons(one, at, reasons)
            found.append(remedy)
        return Remedies(
            tuple(found), entry.attempts, entry.attempts_per_reason, entry.order == "success"
        )

    def _check_reasons(self, entry: RemedyEntry, path: Path, reasons: Collection[str]) -> None:
        for number, reason in enumerate(entry.reasons):
            if reason not in reasons:
                remedy = did_you_mean(reason, sorted(reasons), what="reasons here")
                self.note((*path, "reasons", number), reason, f"is no reason here; {remedy}")

    def _remedy(self, entry: RemedyEntry, path: Path, step: Node) -> Remedy | None:
        made = self._made(entry, path, step)
        if made is None:
            return None
        asks, part = made
        kind = cast("RemedyKind", entry.kind)
        name = kind if kind == "retry" else f"{kind}:{entry.repair or entry.model or entry.human}"
        return Remedy(
            kind=kind,
            name=name,
            asks=asks,
            told=tuple(one for one in asks if self._takes_critique(one)),
            part=part,
            times=entry.retry or 1,
            reasons=frozenset(entry.reasons),
            place=entry.place or "",
            needs_ms=entry.needs or 0,
        )

    def _made(
        self, entry: RemedyEntry, path: Path, step: Node
    ) -> tuple[tuple[str, ...], Repair | None] | None:
        """Return whom a remedy asks, and the part that it is made of; None: it is none."""
        if entry.retry is not None:
            return self._asked_again(path, step)
        if entry.repair is not None and entry.repair not in self.file.models:
            part = self.part(path)
            return None if part is None else ((), cast("Repair", part))
        name = entry.repair or entry.model or entry.human or ""
        model = self.file.models.get(name)
        if model is None or (model.adapter == PERSON) != (entry.human is not None):
            self.note((*path, entry.kind), name, self._nobody(entry, name))
            return None
        at: Path = (*path, entry.kind)
        self._asked[at] = name
        if always_answering(step) != name or self._takes_critique(name):
            self._helpful.add(at)
        return (name,), None

    def note_useless(self, *, proposed: bool) -> None:
        """Note who gives the answer that has failed, and is asked for it once more.

        Args:
            proposed: whether a planner proposes further plans, behind what `verify` asks of all.
        """
        for path, name in self._asked.items():
            if path in self._helpful or (proposed and path[0] == "verify"):
                continue
            what = "gives the answer that fails here, and would give it again; name another"
            or_else = "" if path[-1] == "human" else f", or add {CRITIQUE} to its reads for a retry"
            self.note(path, name, what + or_else)

    def _nobody(self, entry: RemedyEntry, name: str) -> str:
        """Return what is wrong with a name that nobody here has."""
        models = self.file.models.items()
        known = [one for one, of in models if (of.adapter == PERSON) == (entry.human is not None)]
        if entry.human is None:
            return f"is no model; {did_you_mean(name, known, what='models')}"
        if not known:
            return "is no person; add one under models: {kind: human, queue: reviewers}"
        return f"is no person; {did_you_mean(name, known, what='people')}"

    def _asked_again(self, path: Path, step: Node) -> tuple[tuple[str, ...], Repair | None] | None:
        """Return who answers again: who takes a critique, and who reads of them, in order."""
        order = list(dict.fromkeys(models_of(step, remedies=False)))
        asked = [name for name in order if self._takes_critique(name)]
        if not asked:
            what = "tells nobody: no model of the step takes a critique; "
            remedy = f"add {CRITIQUE} to reads of {order[-1]}, or leave it out"
            self.note((*path,), "retry", what + remedy)
            return None
        for name in order:
            entry = self.file.models[name]
            heads = {given.partition(".")[0] for given in (*entry.inputs, *entry.reads)}
            if name not in asked and heads & set(asked):
                asked.append(name)
        return tuple(sorted(asked, key=order.index)), None

    def _takes_critique(self, name: str) -> bool:
        return CRITIQUE in self.file.models[name].reads
