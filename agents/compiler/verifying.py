"""Compiles `verify` and `check`: the checkpoints of plans, and the taint that models begin with."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, cast

from batuta.agents.compiler.faults import Faults
from batuta.agents.compiler.remedying import Remedying
from batuta.agents.compiler.understood import Understand
from batuta.agents.delegation.plans import (
    Checked,
    Node,
    answers_together,
    models_of,
    sole_answering,
)
from batuta.agents.policy.expressions import Expression, ExpressionError
from batuta.agents.policy.names import Kind, Names
from batuta.agents.reasons import CHECK_BROKE
from batuta.agents.verification.checkpoint import (
    VALIDATOR_REASONS,
    BoundCheck,
    Checkpoint,
    Validator,
    Vouches,
)
from batuta.agents.verification.compliance import ComplianceCheck
from batuta.agents.verification.expressions import CONTRADICTION, RuleCheck
from batuta.agents.verification.grounding import GroundingCheck
from batuta.agents.verification.own import OwnCheck
from batuta.agents.verification.port import BatchCheck
from batuta.agents.verification.ranges import RangeCheck
from batuta.agents.verification.shapes import SchemaCheck
from batuta.agents.verification.taint import Taint
from batuta.agents.verification.tone import ToneCheck
from batuta.schemas.pipeline_file.check_entries import CheckEntry
from batuta.schemas.pipeline_file.check_places import remedies_path, verify_path
from batuta.schemas.pipeline_file.entries import ModelEntry
from batuta.schemas.pipeline_file.plan_entries import PlanEntry
from batuta.schemas.pipeline_file.problems import Path, did_you_mean
from batuta.schemas.pipeline_file.reading import Document
from batuta.schemas.pipeline_file.remedy_entries import OnFailureEntry
from batuta.schemas.pipeline_file.serving import SERVED

if TYPE_CHECKING:
    from pydantic import BaseModel

__all__ = ["CheckParts", "Verifying", "label_of", "read_by"]

#: What checks name: a BatchCheck, or the schema of a value, by where the check stands.
CheckParts = Mapping[Path, object]

_ANSWER: Final[Mapping[str, Kind]] = dict.fromkeys(("score", "confidence", CONTRADICTION), "double")
#: What says that models agree, and nothing else.
_AGREEMENT: Final = re.compile(rf"\s*{CONTRADICTION}\s*<=?\s*[0-9.]+\s*")
_MODELS: Final = "models"


def label_of(entry: ModelEntry) -> int:
    """Return the taint that a model's answers begin with.

    A served model is somebody else's: nothing here holds its code to a hash. One that reads an
    event's texts says what these may have told it.
    """
    if entry.kind == "human":
        return 0
    label = Taint.UNVERIFIED_MODEL if entry.adapter in SERVED else Taint(0)
    texts = any(given.partition(".")[0] == "event" for given in _seen_by(entry))
    return label | (Taint.OUTSIDE_TEXT if texts else Taint(0))


def read_by(entry: ModelEntry) -> tuple[str, ...]:
    """Return the models whose answers a model is given."""
    if entry.kind == "human":
        return ()
    heads = (given.partition(".")[0] for given in _seen_by(entry) if "." in given)
    return tuple(dict.fromkeys(head for head in heads if head != "event"))


def _seen_by(entry: ModelEntry) -> tuple[str, ...]:
    return (*entry.inputs, *(entry.reads or ()))


class Verifying:
    """Puts checkpoints around plans.

    Attributes:
        names: what their expressions use.
        faults: notes what is wrong.
    """

    def __init__(
        self, document: Document, so_far: Understand, parts: CheckParts, faults: Faults
    ) -> None:
        """Compile for one document; what its checks name was imported as `parts`."""
        self._file = document.file
        self._value = document.tree.value
        self._remedying = Remedying(document.file, parts.get, self._note)
        self._names: Names = so_far.names(_ANSWER)
        self._parts = parts
        self.faults = faults
        self._seen: set[Path] = set()
        self.names: frozenset[str] = frozenset()

    def checked(self, node: Node, entry: PlanEntry, path: Path) -> Node:
        """Return a step behind the checks that stand at `path`, as it is where there are none."""
        name = ".".join(str(part) for part in path[1:] if isinstance(part, int) or part == path[1])
        checks = _Checks(entry.check, (*path, "check"), entry.on_failure, (*path, "on_failure"))
        return self._around(node, checks, name)

    def verified(self, node: Node) -> Node:
        """Return a whole plan behind what `verify` asks for."""
        verify, path = self._file.verify, verify_path(self._value)
        checks = _Checks(verify.check, path, verify.on_failure, ("verify", "on_failure"))
        return self._around(node, checks, _MODELS)

    def note_useless(self) -> None:
        """Note remedies that help in no plan; all plans of the file were put behind checks."""
        select = self._file.select
        self._remedying.note_useless(proposed=select is not None and select.planner is not None)

    def _around(self, node: Node, checks: "_Checks", name: str) -> Node:
        if not checks.entries:
            return node
        sole = sole_answering(node)
        self._refuse_untold(node, checks)
        each = [(one, (*checks.path, n)) for n, one in enumerate(checks.entries)]
        found = [self._one(one, path, sole or "") for one, path in each]
        follows = sole is None and (
            checks.on_failure is not None
            or any(_follows(*one) for one in zip(checks.entries, found, strict=True))
        )
        validators = tuple(one for one in found if isinstance(one, Validator))
        bound = _distinct([one for one in found if isinstance(one, BoundCheck)])
        if checks.on_failure is None:
            return Checked(node, Checkpoint(name, bound, validators, follows=follows))
        reasons = {reason for one in bound for reason in one.check.reasons} | {CHECK_BROKE}
        reasons |= set(VALIDATOR_REASONS) if validators else set()
        path = remedies_path(self._value, checks.remedies_path)
        remedies = self._remedying.remedies(checks.on_failure, path, node, reasons)
        return Checked(node, Checkpoint(name, bound, validators, remedies, follows))

    def untold(self, node: Node) -> bool:
        """Say whether `verify` looks at the text of a plan whose answer is of no one alone."""
        together = answers_together(node)
        return together and any(entry.follows for entry in self._file.verify.check)

    def _refuse_untold(self, node: Node, checks: "_Checks") -> None:
        if not answers_together(node):
            return
        several = ", ".join(dict.fromkeys(models_of(node, remedies=False)))
        for number, entry in enumerate(checks.entries):
            if entry.follows:
                what = "looks at one answer, but several count at once here (parallel); add of: "
                self._note((*checks.path, number), entry.kind, f"{what}one of {several}")

    def _one(self, entry: CheckEntry, path: Path, sole: str) -> BoundCheck | Validator | None:
        of = self._model(entry.of, (*path, "of")) or sole
        sources = self._model(entry.sources, (*path, "sources")) or sole
        if entry.validator is not None:
            validator = self._model(entry.validator, (*path, "validator"))
            return Validator(validator, entry.least, self._blind(validator)) if validator else None
        if entry.rule is not None:
            return self._rule(entry, entry.rule, path)
        check = self._component(entry, path, of, sources)
        if check is None:
            return None
        name = entry.reason or "check_failed" if entry.use is not None else entry.kind
        return BoundCheck(name, check, _vouches(entry))

    def _component(self, entry: CheckEntry, path: Path, of: str, sources: str) -> BatchCheck | None:
        part = self._parts.get(path)
        found: BatchCheck | None = None
        if entry.range is not None:
            found = RangeCheck(*entry.range)
        elif entry.grounding is not None:
            found = GroundingCheck(of, sources, entry.grounding)
        elif entry.tone is not None:
            found = ToneCheck(of, entry.tone)
        elif entry.compliance is not None:
            found = ComplianceCheck(of, entry.compliance)
        elif entry.shape is not None:
            # What a schema is not was noted where it was imported.
            found = SchemaCheck(cast("type[BaseModel]", part), of) if part else None
        elif part is not None:
            found = cast("BatchCheck", part)
        if found is None and not len(self.faults):
            named = entry.use or entry.shape
            self._note(path, named, "was not imported; only a pipeline file may name parts")
        return found

    def _rule(self, entry: CheckEntry, text: str, path: Path) -> BoundCheck | None:
        try:
            expression = Expression(text, self._names, ("bool",))
        except ExpressionError as error:
            self._note(path, text, f"cannot be used: {error}")
            return None
        self.names |= expression.names
        check = RuleCheck(expression, entry.reason)
        name = CONTRADICTION if check.compares else entry.reason or "rule"
        return BoundCheck(name, check, _vouches(entry))

    def _model(self, name: str | None, path: Path) -> str | None:
        if name is None or name in self._file.models:
            return name
        remedy = did_you_mean(name, list(self._file.models), what="models")
        self._note(path, name, f"is no model; {remedy}")
        return None

    def _note(self, path: Path, value: object, what: str) -> None:
        """Note a fault once, however many plans are checked by the same entry."""
        if path not in self._seen:
            self._seen.add(path)
            self.faults.add(path, value, what)

    def _blind(self, validator: str) -> int:
        """Return the labels that a validator cannot vouch for."""
        entry = self._file.models[validator]
        own_code = entry.adapter not in SERVED and entry.kind in {"validation", "policy"}
        return 0 if own_code else label_of(entry)


@dataclass(frozen=True, slots=True)
class _Checks:
    """What stands in one place of a file: checks, and what is tried where they fail."""

    entries: Sequence[CheckEntry]
    path: Path
    on_failure: OnFailureEntry | None
    remedies_path: Path


def _follows(entry: CheckEntry, check: BoundCheck | Validator | None) -> bool:
    """Say whether a check looks at what whoever answers has answered; one of your own may."""
    if entry.use is not None:
        return isinstance(check, BoundCheck) and not isinstance(check.check, OwnCheck)
    return entry.follows


def _vouches(entry: CheckEntry) -> Vouches:
    if entry.verifies or entry.grounding is not None:
        return "all"
    return "agreement" if entry.rule and _AGREEMENT.fullmatch(entry.rule) else "nothing"


def _distinct(checks: Sequence[BoundCheck]) -> tuple[BoundCheck, ...]:
    """Return checks under names that each stand once: the second `rule` is `rule_2`."""
    found: list[BoundCheck] = []
    for check in checks:
        same = sum(one.name == check.name or one.name.startswith(f"{check.name}_") for one in found)
        name = f"{check.name}_{same + 1}" if same else check.name
        found.append(BoundCheck(name, check.check, check.vouches))
    return tuple(found)
