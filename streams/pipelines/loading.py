"""Loads a pipeline: its file read, its parts imported, the whole compiled."""

import inspect
from collections.abc import Mapping
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING, Final, cast

from pydantic import BaseModel

from batuta.agents.compiler.compiling import Parts, compile_pipeline
from batuta.agents.compiler.faults import Faults
from batuta.agents.pipelines import LoadedPipeline, NoSamples, NoTrainer, Trainer
from batuta.agents.reasons import NoReasons, Reasons
from batuta.agents.understanding.features import ContextFeatures, KeyedFeatures
from batuta.agents.understanding.memories import WIDTH_MAX
from batuta.agents.verification.own import OwnCheck
from batuta.schemas.errors import UsageError
from batuta.schemas.pipeline_file.check_entries import CheckEntry
from batuta.schemas.pipeline_file.check_places import check_places, remedy_places
from batuta.schemas.pipeline_file.entries import ModelEntry, PartEntry
from batuta.schemas.pipeline_file.problems import Path as FieldPath
from batuta.schemas.pipeline_file.reading import Document, read_document
from batuta.streams.pipelines.imports import Import, Importer
from batuta.streams.sinks.bounded import BoundedSink
from batuta.streams.sinks.port import Sink

if TYPE_CHECKING:
    from batuta.agents.policy.checks import Check
    from batuta.agents.samples import Samples

__all__ = ["PipelineOnDisk", "load_file"]

_FORGETS: Final = "remembers nothing by it; "


@dataclass(frozen=True)
class PipelineOnDisk:
    """A pipeline and where it came from.

    Attributes:
        loaded: what the stages run by.
        document: the file as read.
        folder: the file's.
        imports: every part, with version and hash.
        sinks: the file's own, made, by name.
        models: the parts of models, for adapter python, by name.
        answers: the schemas of answers that served models name, by model.
        history: what labelled files mean, where the file says so.
    """

    loaded: LoadedPipeline
    document: Document
    folder: Path
    imports: tuple[Import, ...]
    sinks: Mapping[str, Sink]
    models: Mapping[str, object]
    answers: Mapping[str, type[BaseModel]]
    history: object | None = None

    @property
    def entry(self) -> ModelEntry:
        """The entry of the first model that is asked."""
        return self.document.file.models[self.loaded.plan.model]


def load_file(path: Path) -> PipelineOnDisk:
    """Load a pipeline file.

    Raises:
        UsageError: it cannot be read, or something in it is wrong: every problem, one per line.
    """
    try:
        text = path.read_text("utf-8-sig")
    except UnicodeDecodeError as error:
        what = f"byte {error.start} is no UTF-8; save the file as UTF-8"
        raise UsageError(f"{path}: {what}") from error
    except OSError as error:
        raise UsageError(f"{path}: {error.strerror}; name a pipeline file") from error
    document = read_document(
        text, path.name, lambda name: (path.parent / name).read_text("utf-8-sig")
    )
    return _Loading(document, path.parent).load()


class _Loading:
    def __init__(self, document: Document, folder: Path) -> None:
        self._document = document
        self._folder = folder
        self._faults = Faults(document)
        self._importer = Importer(folder, self._faults)

    def load(self) -> PipelineOnDisk:
        file = self._document.file
        data = self._schema(("source", "schema"), file.source.data)
        label = self._schema(("labels", "schema"), file.labels.data) if file.labels else None
        parts = self._features()
        models = self._models()
        answers = self._answers()
        checks = self._checks()
        sinks = self._sinks()
        reasons = self._optional("reasons", file.reasons, ("codes_of", "text_of"))
        samples = self._optional("samples", file.samples, ("__call__",))
        trainer = self._optional("train", file.train, ("recipe", "train"))
        history = self._optional("history", file.history, ("files", "history", "measure"))
        self._faults.settle()
        assert data is not None
        name = self._document.tree.name
        plan = compile_pipeline(self._document, Parts(data, label, parts, checks))
        loaded = LoadedPipeline(
            pipeline=plan.pipeline,
            plan=plan,
            data=data,
            label=label,
            reasons=cast("Reasons", reasons or NoReasons()),
            samples=cast("Samples", samples or NoSamples(name)),
            trainer=cast("Trainer", trainer or NoTrainer(name)),
        )
        return PipelineOnDisk(
            loaded,
            self._document,
            self._folder,
            tuple(self._importer.found),
            sinks,
            models,
            answers,
            history,
        )

    def _schema(self, path: FieldPath, entry: PartEntry) -> type[BaseModel] | None:
        part = self._importer.named("schema", path, entry.use)
        if part is None:
            return None
        if inspect.isclass(part) and issubclass(part, BaseModel):
            return part
        what = "is no schema; name a class that derives from pydantic.BaseModel"
        self._faults.add(path, entry.use, what)
        return None

    def _features(self) -> dict[str, ContextFeatures | KeyedFeatures]:
        found: dict[str, ContextFeatures | KeyedFeatures] = {}
        for number, step in enumerate(self._document.file.understand):
            if step.feature is None or step.feature[1].use is None:
                continue
            name, entry = step.feature
            path: FieldPath = ("understand", number, name, "use")
            given = _part(entry.use or "", entry.options)
            part = self._feature(path, given, entry.by)
            if part is not None:
                found[name] = part
        return found

    def _feature(
        self, path: FieldPath, given: PartEntry, by: str | None
    ) -> ContextFeatures | KeyedFeatures | None:
        """Return a feature that remembers where it has a key, else one that does not."""
        part = self._fitting("feature", path, given, ("names",))
        remembers, plain = hasattr(part, "observe"), hasattr(part, "compute")
        if part is None:
            return None
        if by is not None and not remembers:
            remedy = f"leave by: {by} out, or give it width, per and observe"
            self._faults.add(
                (*path[:-1], "by"), by, f"is a key, but {given.use} {_FORGETS}{remedy}"
            )
        elif by is None and remembers and not plain:
            remedy = "add by: the field whose state that is"
            self._faults.add(path, given.use, f"remembers what came before; {remedy}")
        elif by is None and not plain:
            what = "is no feature: it has no compute; docs/pipeline-file.md has the port"
            self._faults.add(path, given.use, what)
        elif by is None:
            return cast("ContextFeatures", part)
        else:
            return self._keyed(path, given.use, part)
        return None

    def _keyed(self, path: FieldPath, use: str, part: object) -> KeyedFeatures | None:
        width = getattr(part, "width", None)
        if not isinstance(width, int) or not 1 <= width <= WIDTH_MAX:
            what = f"has the width {width!r}; say how many numbers it remembers, 1 to {WIDTH_MAX}"
            self._faults.add(path, use, what)
            return None
        if not hasattr(part, "per"):
            self._faults.add(path, use, 'has no "per"; add per = () where a series is a key')
            return None
        return cast("KeyedFeatures", part)

    def _models(self) -> dict[str, object]:
        found: dict[str, object] = {}
        for name, entry in self._document.file.models.items():
            if entry.use is not None:
                path: FieldPath = ("models", name, "use")
                given = _part(entry.use, entry.options)
                method = "answer_rows" if entry.reads else "answer"
                part = self._fitting("model", path, given, (method,))
                if part is not None:
                    found[name] = part
                    self._check_hash(name, entry, self._importer.found[-1].sha256)
            elif entry.file is not None:
                self._check_file(name, entry, entry.file)
        return found

    def _answers(self) -> dict[str, type[BaseModel]]:
        found: dict[str, type[BaseModel]] = {}
        for name, entry in self._document.file.models.items():
            if entry.answer is not None:
                given = _part(entry.answer, {})
                if (schema := self._schema(("models", name, "answer"), given)) is not None:
                    found[name] = schema
                    self._check_plans(name, entry.answer, schema)
        return found

    @property
    def _planner(self) -> str | None:
        """Return which model plans."""
        select = self._document.file.select
        return select.planner.ask if select is not None and select.planner is not None else None

    def _check_plans(self, name: str, answer: str, schema: type[BaseModel]) -> None:
        missing = [one for one in ("plan", "score") if one not in schema.model_fields]
        if name == self._planner and missing:
            what = f"has no field {' and '.join(missing)}, and this model plans; add it"
            self._faults.add(("models", name, "answer"), answer, what)

    def _check_file(self, name: str, entry: ModelEntry, file: str) -> None:
        path = self._folder / file
        try:
            digest = sha256(path.read_bytes()).hexdigest()
        except OSError as error:
            what = f"cannot be read: {error.strerror}; put it beside the pipeline file"
            self._faults.add(("models", name, "file"), file, what)
            return
        self._check_hash(name, entry, digest)

    def _check_hash(self, name: str, entry: ModelEntry, found: str) -> None:
        if entry.sha256 is not None and entry.sha256 != found:
            what = f"is not its sha256, which is {found}; if the change is meant, write that"
            self._faults.add(("models", name, "sha256"), entry.sha256, what)

    def _checks(self) -> dict[FieldPath, object]:
        found: dict[FieldPath, object] = {}
        for path, entry in check_places(self._document.file, self._document.tree.value):
            part: object | None = None
            if entry.use is not None:
                part = self._check((*path, "use"), entry.use, entry)
            elif entry.shape is not None:
                part = self._schema((*path, "schema"), _part(entry.shape, {}))
            if part is not None:
                found[path] = part
        for path, remedy in remedy_places(self._document.file, self._document.tree.value):
            if remedy.repair is None or remedy.repair in self._document.file.models:
                continue
            given = _part(remedy.repair, remedy.options)
            part = self._fitting("repair", (*path, "repair"), given, ("repair",))
            if part is not None:
                found[path] = part
        return found

    def _check(self, path: FieldPath, use: str, entry: CheckEntry) -> object | None:
        """Return a check of batches; one of scores alone is made one."""
        part = self._importer.made("check", path, _part(use, entry.options))
        if part is None:
            return None
        if hasattr(part, "check") and hasattr(part, "reasons"):
            return part
        if hasattr(part, "passes"):
            return OwnCheck(cast("Check", part), entry.reason or "check_failed")
        what = "is no check: it has no passes; docs/pipeline-file.md has the port"
        self._faults.add(path, use, what)
        return None

    def _sinks(self) -> dict[str, Sink]:
        found: dict[str, Sink] = {}
        for name, entry in self._document.file.sinks.items():
            wanted = ("channel", "deliver", "close")
            part = self._fitting("sink", ("sinks", name), entry, wanted)
            if part is not None:
                found[name] = BoundedSink(cast("Sink", part))
        return found

    def _optional(self, kind: str, entry: PartEntry | None, wanted: tuple[str, ...]) -> object:
        return None if entry is None else self._fitting(kind, (kind,), entry, wanted)

    def _fitting(
        self, kind: str, path: FieldPath, entry: PartEntry, wanted: tuple[str, ...]
    ) -> object | None:
        """Return a part that has what its port asks for."""
        part = self._importer.made(kind, path, entry)
        if part is None:
            return None
        missing = [name for name in wanted if not hasattr(part, name)]
        if missing:
            what = (
                f"is no {kind}: it has no {', '.join(missing)}; docs/pipeline-file.md has the port"
            )
            self._faults.add(path, entry.use, what)
            return None
        return part


def _part(use: str, options: Mapping[str, object]) -> PartEntry:
    return PartEntry.model_validate({"use": use, "with": options})
