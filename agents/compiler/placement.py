"""Where each windowed feature is computed: at the stage whose state is kept by the key it needs.

The route has two keys. The source's key is ingestion's, and one more key is scoring's: events are
keyed by it on their way to `.ingested`. A third key would need a third hop, which there is not.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Final, Literal

from batuta.agents.compiler.faults import Faults
from batuta.agents.compiler.payload import PayloadField
from batuta.agents.compiler.sources import Fields, check_field
from batuta.agents.understanding.features import window_names
from batuta.agents.understanding.shares import share_names
from batuta.agents.understanding.windows import AMOUNT_MAX
from batuta.schemas.pipeline import WindowFeature
from batuta.schemas.pipeline_file.entries import FeatureEntry, ShareEntry
from batuta.schemas.pipeline_file.file import PipelineFile
from batuta.schemas.pipeline_file.problems import Path
from batuta.schemas.pipeline_rules import ShareFeature

__all__ = ["Placed", "StageName", "columns_of", "place", "scoring_key_of", "windowed", "windows_of"]

StageName = Literal["ingestion", "scoring"]
_MEANABLE: Final = ("double", "int")


@dataclass(frozen=True)
class Placed:
    """One entry's windows, or its share, and the stage that computes them."""

    name: str
    stage: StageName
    windows: tuple[WindowFeature, ...]
    share: ShareFeature | None

    @property
    def columns(self) -> tuple[str, ...]:
        """The names of its features, in the order they are computed."""
        names = [name for window in self.windows for name in window_names(window)]
        return (*names, *(share_names(self.share) if self.share else ()))


def windowed(file: PipelineFile) -> Iterator[tuple[Path, str, FeatureEntry, str]]:
    """Yield path, name, entry and key of every entry with state: windows, or a part's memory."""
    for number, step in enumerate(file.understand):
        if step.feature is not None:
            name, entry = step.feature
            if entry.by is not None:
                yield ("understand", number, name), name, entry, entry.by


def scoring_key_of(file: PipelineFile, fields: Fields, faults: Faults) -> str:
    """Return the field whose windows scoring holds: the one key that is not the source's."""
    source_key = file.source.key
    found = source_key
    for path, _, _, by in windowed(file):
        if by in {source_key, found}:
            continue
        if not check_field(faults, (*path, "by"), by, fields, ("string", "int")):
            continue
        if found == source_key:
            found = by
            continue
        what = (
            f"is a third key: state by {source_key} is held where events come in, and by {found} "
            f"in scoring, and each further key would be a further hop; use one of these two"
        )
        faults.add((*path, "by"), by, what)
    return found


def place(file: PipelineFile, fields: Fields, faults: Faults, scoring_key: str) -> list[Placed]:
    """Return every entry's windows and shares, each at its stage."""
    placed: list[Placed] = []
    for path, name, entry, by in windowed(file):
        for field in entry.mean:
            _check_mean(faults, (*path, "mean", field), field, fields)
        if entry.use is not None and by == file.source.key != scoring_key:
            what = (
                f"is the source's key, but what remembers runs in scoring, whose key is "
                f"{scoring_key}; remember by {scoring_key}"
            )
            faults.add((*path, "by"), by, what)
        tables = windows_of(name, by, entry)
        if tables:
            stage: StageName = "ingestion" if by == file.source.key else "scoring"
            placed.append(Placed(name, stage, tables, None))
        if entry.share is not None:
            _check_share(file, path, entry.share, faults)
            if by == file.source.key != scoring_key:
                what = (
                    f"is the source's key, but labels come back by {scoring_key}, the key of "
                    f"scoring; take the share by {scoring_key}"
                )
                faults.add((*path, "by"), by, what)
            placed.append(Placed(name, "scoring", (), _share(name, by, entry.share)))
    return placed


def windows_of(name: str, by: str, entry: FeatureEntry) -> tuple[WindowFeature, ...]:
    """Return the window tables an entry needs: counts ride along with the first mean."""
    counts, means = entry.count or (), list(entry.mean.items())
    if not means:
        return (WindowFeature(name=name, by=by, windows_ms=counts),) if counts else ()
    tables: list[WindowFeature] = []
    for field, widths in means:
        whole = tuple(sorted({*counts, *widths}))
        tables.append(
            WindowFeature(
                name=name,
                by=by,
                windows_ms=whole,
                mean_of=field,
                counts_ms=None if counts == whole else counts,
                means_ms=None if widths == whole else widths,
            )
        )
        counts = ()
    return tuple(tables)


def _check_mean(faults: Faults, path: Path, field: str, fields: Fields) -> None:
    if not check_field(faults, path, field, fields, _MEANABLE):
        return
    if not _bounded(fields[field]):
        remedy = "bound it in the schema, for example Annotated[float, Field(ge=0, le=9e8)]"
        faults.add(
            path, field, f"may be beyond {AMOUNT_MAX:.0e}, where sums are not exact; {remedy}"
        )


def _bounded(declared: PayloadField) -> bool:
    least, most = declared.least, declared.most
    return least is not None and most is not None and -AMOUNT_MAX <= least <= most <= AMOUNT_MAX


def _check_share(file: PipelineFile, path: Path, share: ShareEntry, faults: Faults) -> None:
    if file.labels is None:
        remedy = "add labels: {schema, id, time, of}"
        faults.add((*path, "share"), share.of, f"is a label, but there are no labels; {remedy}")
    elif share.of != file.labels.of:
        what = f'is not the label; write "{file.labels.of}", as labels.of says'
        faults.add((*path, "share", "of"), share.of, what)


def _share(name: str, by: str, share: ShareEntry) -> ShareFeature:
    return ShareFeature(
        name=name, by=by, of=share.of, windows_ms=share.over, delay_ms=share.delay or 0
    )


def columns_of(placed: Iterable[Placed], stage: StageName) -> tuple[str, ...]:
    """Return the window features of a stage, in order."""
    return tuple(name for one in placed if one.stage == stage for name in one.columns)
