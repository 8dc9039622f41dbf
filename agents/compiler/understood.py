"""Compiles `understand`: each feature's name, kind, stage, and what computes it."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final, cast
from zoneinfo import ZoneInfo

from batuta.agents.compiler.faults import Faults
from batuta.agents.compiler.placement import Placed, StageName
from batuta.agents.compiler.sources import Fields
from batuta.agents.policy.expressions import Expression, ExpressionError
from batuta.agents.policy.names import HELPERS, Kind, Names
from batuta.agents.understanding.features import ContextFeatures, KeyedFeatures
from batuta.agents.understanding.part_steps import KeyedStep, PartStep
from batuta.agents.understanding.steps import ExpressionStep, Step
from batuta.schemas.pipeline_file.file import PipelineFile
from batuta.schemas.pipeline_file.problems import Path

__all__ = ["RESERVED", "Feature", "Understand", "understood"]

#: Names that mean something else in an expression already.
RESERVED: Final = frozenset(
    {
        *("score", "outcome", "event", "context", *HELPERS),
        *("as", "break", "const", "continue", "else", "false", "for", "function", "if", "import"),
        *("in", "let", "loop", "namespace", "null", "package", "return", "true", "var", "void"),
        *("while", "bool", "bytes", "double", "duration", "dyn", "has", "int", "list", "map"),
        *("matches", "size", "string", "timestamp", "type", "uint"),
    }
)
_FEATURE_KINDS: Final[tuple[Kind, ...]] = ("bool", "int", "double")
_QUOTED: Final = re.compile(r"'(?:\\.|[^'\\])*'|\"(?:\\.|[^\"\\])*\"")
_WORD: Final = re.compile(r"(?<![\w.])[A-Za-z_]\w*")


@dataclass(frozen=True)
class Feature:
    """One feature, placed.

    Attributes:
        name, kind: as expressions see it; a model sees a number.
        stage: which computes it.
        how: in a few words.
        entry: under which name of the file it stands.
        key: the field whose state it needs, empty where it needs none.
    """

    name: str
    kind: Kind
    stage: StageName
    how: str
    entry: str
    key: str = ""


@dataclass
class Understand:
    """What has been compiled so far, in the order of the file."""

    fields: Fields
    zone: ZoneInfo
    features: dict[str, Feature] = field(default_factory=dict[str, Feature])
    groups: dict[str, tuple[str, ...]] = field(default_factory=dict[str, tuple[str, ...]])
    steps: list[Step] = field(default_factory=list[Step])

    def names(self, further: Mapping[str, Kind] | None = None) -> Names:
        """Return what an expression may name now: payload fields, features, and `further`."""
        plain: dict[str, Kind] = {
            name: declared.kind
            for name, declared in self.fields.items()
            if declared.kind is not None and name not in RESERVED
        }
        computed: dict[str, Kind] = {name: feature.kind for name, feature in self.features.items()}
        kinds: dict[str, Kind] = {**plain, **computed, **(further or {})}
        return Names(kinds, frozenset(self.fields), self.zone, self.groups)


def understood(
    file: PipelineFile,
    so_far: Understand,
    placed: Sequence[Placed],
    parts: Mapping[str, ContextFeatures | KeyedFeatures],
    faults: Faults,
) -> None:
    """Compile each entry into `so_far`.

    Args:
        file: as read.
        so_far: to be filled.
        placed: the windows, at their stages.
        parts: the user's own features, by the name of their entry.
        faults: notes what is wrong.
    """
    later = {name: number for number, name in _declared(file, placed, parts)}
    for number, step in enumerate(file.understand):
        if step.context is not None:
            path: Path = ("understand", number, "context")
            _Context(path, dict(step.context), so_far, faults, later).compile()
        if step.feature is not None:
            name, entry = step.feature
            path = ("understand", number, name)
            if name in so_far.groups:
                faults.add(path, name, "stands twice; give each entry a name of its own", key=True)
                continue
            if name in so_far.fields:
                what = "is a field of the event already; choose another name"
                faults.add(path, name, what, key=True)
            own = [one for one in placed if one.name == name]
            found = [feature for one in own for feature in _windowed(one, entry.by or "")]
            if name in parts:
                found = [_own(column, name, entry.by or "") for column in parts[name].names]
                so_far.steps.append(_step(parts[name], name, entry.by))
            so_far.groups[name] = tuple(feature.name for feature in found)
            for feature in found:
                if _fresh(feature, so_far, faults, path):
                    so_far.features[feature.name] = feature


def _windowed(placed: Placed, key: str) -> list[Feature]:
    what = f"share of {placed.share.of}" if placed.share else "windows"
    return [
        Feature(name, "double", placed.stage, what, placed.name, key) for name in placed.columns
    ]


def _own(column: str, entry: str, key: str) -> Feature:
    how = "a part that remembers" if key else "a part of one's own"
    return Feature(column, "double", "scoring", how, entry, key)


def _step(part: ContextFeatures | KeyedFeatures, entry: str, key: str | None) -> Step:
    if key is None:
        return PartStep(cast("ContextFeatures", part), entry)
    return KeyedStep(cast("KeyedFeatures", part), entry)


def _fresh(feature: Feature, so_far: Understand, faults: Faults, path: Path) -> bool:
    """Note where the name of a feature means something else already."""
    before = len(faults)
    name = feature.name
    remedy = "choose another name"
    if name in so_far.fields:
        faults.add(path, name, f"is a field of the event already; {remedy}", key=True)
    elif name in RESERVED:
        faults.add(path, name, f"means something else in expressions; {remedy}", key=True)
    elif name in so_far.features:
        entry = so_far.features[name].entry
        faults.add(path, name, f"is computed already, under {entry}; {remedy}", key=True)
    return len(faults) == before


def _declared(
    file: PipelineFile,
    placed: Sequence[Placed],
    parts: Mapping[str, ContextFeatures | KeyedFeatures],
) -> list[tuple[int, str]]:
    """Return number of entry and name of everything that will be computed."""
    found: list[tuple[int, str]] = []
    for number, step in enumerate(file.understand):
        found += [(number, name) for name in step.context or {}]
        if step.feature is not None:
            entry = step.feature[0]
            found += [(number, c) for one in placed if one.name == entry for c in one.columns]
            found += [(number, c) for c in (parts[entry].names if entry in parts else ())]
    return found


@dataclass
class _Context:
    """One `context`: its expressions may use each other, in any order but in a circle."""

    path: Path
    texts: dict[str, str]
    so_far: Understand
    faults: Faults
    later: Mapping[str, int]
    _done: set[str] = field(default_factory=set[str])
    _broken: set[str] = field(default_factory=set[str])

    def compile(self) -> None:
        for name in self.texts:
            feature = Feature(name, "double", "scoring", "", "context")
            if not _fresh(feature, self.so_far, self.faults, (*self.path, name)):
                self._done.add(name)
                self._broken.add(name)
        for name in self.texts:
            self._visit(name, ())

    def _visit(self, name: str, above: tuple[str, ...]) -> None:
        if name in self._done:
            return
        path = (*self.path, name)
        if name in above:
            circle = " -> ".join((*above[above.index(name) :], name))
            what = f"needs itself: {circle}; break the circle"
            self.faults.add(path, self.texts[name], what)
            self._done.add(name)
            self._broken.add(name)
            return
        needed = [word for word in self._words(name) if word in self.texts]
        for other in needed:
            self._visit(other, (*above, name))
        if name not in self._done:
            self._done.add(name)
            # What needs a broken one is not at fault itself.
            if not self._broken.isdisjoint(needed) or not self._one(name, path):
                self._broken.add(name)

    def _words(self, name: str) -> list[str]:
        return _WORD.findall(_QUOTED.sub("''", self.texts[name]))

    def _one(self, name: str, path: Path) -> bool:
        text = self.texts[name]
        mine = self.path[1]
        for word in self._words(name):
            at = self.later.get(word, -1)
            if isinstance(mine, int) and at > mine:
                what = f"uses {word}, which understand[{at}] computes later; move that entry up"
                self.faults.add(path, text, what)
                return False
        try:
            expression = Expression(text, self.so_far.names(), _FEATURE_KINDS)
        except ExpressionError as error:
            self.faults.add(path, text, f"cannot be used: {error}")
            return False
        feature = Feature(name, expression.kind, "scoring", text, "context")
        self.so_far.features[name] = feature
        self.so_far.steps.append(ExpressionStep(name, expression))
        return True
