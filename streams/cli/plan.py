"""`batuta plan PIPELINE...`: what pipeline files mean, checked."""

from enum import StrEnum
from typing import TYPE_CHECKING, Annotated, Any

import typer
from typer.core import TyperCommand

from batuta.streams.cli.options import Json
from batuta.streams.cli.terminal import print_json, stdout

if TYPE_CHECKING:
    from collections.abc import Iterable

    from rich.table import Table
    from rich.text import Text

    from batuta.streams.pipelines.loading import PipelineOnDisk

__all__ = ["plan"]


class _Drawing(StrEnum):
    TEXT = "text"
    SVG = "svg"


class PlanCommand(TyperCommand):
    """Lets `--graph` stand alone, which means text: an option here else needs its value."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Parse the command's words."""
        after = {index + 1 for index, word in enumerate(args) if word == "--graph"}
        alone = sorted(at for at in after if at >= len(args) or args[at] not in list(_Drawing))
        for at in reversed(alone):
            args = [*args[:at], _Drawing.TEXT.value, *args[at:]]
        return super().parse_args(ctx, args)


def plan(
    pipelines: Annotated[
        list[str] | None,
        typer.Argument(metavar="PIPELINE...", help="Shipped pipelines, or paths of files."),
    ] = None,
    *,
    graph: Annotated[
        _Drawing | None,
        typer.Option("--graph", help="Draw the route on stdout instead; text where none is named."),
    ] = None,
    schema: Annotated[
        bool, typer.Option("--schema", help="Print the JSON Schema of pipeline files instead.")
    ] = False,
    as_json: Json = False,
) -> None:
    """Check pipeline files and show what becomes of each.

    Topics and keys, stages, each feature and where it is computed, rules, and every part that is
    imported, with version and hash. Reads no topic and changes nothing. Leaves with 2 where the
    file is wrong, and says all that is.

    Example: batuta plan fraud --graph
    """
    from batuta.schemas.errors import UsageError

    if schema:
        from batuta.schemas.pipeline_file.export import file_schema

        print_json(file_schema())
        return
    if not pipelines:
        raise UsageError("name a pipeline, such as fraud, or the path of a pipeline file")
    if graph is _Drawing.SVG and len(pipelines) > 1:
        raise UsageError(f"one drawing is of one pipeline; name one of {', '.join(pipelines)}")
    _show(pipelines, graph, as_json=as_json)


def _show(pipelines: list[str], graph: _Drawing | None, *, as_json: bool) -> None:
    from batuta.streams.pipelines.finding import find_pipeline
    from batuta.streams.pipelines.outline import outline_of

    found = [find_pipeline(one) for one in pipelines]
    if not as_json or graph is not None:
        for on_disk in found:
            _draw(on_disk, graph)
    elif len(found) == 1:
        print_json(outline_of(found[0]))
    else:
        print_json({"pipelines": [outline_of(on_disk) for on_disk in found]})


def _draw(on_disk: "PipelineOnDisk", graph: _Drawing | None) -> None:
    from batuta.streams.pipelines.graph import as_svg, as_text
    from batuta.streams.pipelines.outline import stages_of, topics_of

    topics, stages = topics_of(on_disk.loaded.plan), stages_of(on_disk)
    if graph is _Drawing.SVG:
        typer.echo(as_svg(on_disk.loaded.pipeline.name, topics, stages), nl=False)
    elif graph is _Drawing.TEXT:
        typer.echo(as_text(topics, stages))
    else:
        for part in _page(on_disk):
            stdout().print(part)


def _page(on_disk: "PipelineOnDisk") -> "Iterable[Table | Text]":
    from rich.text import Text

    from batuta.agents.models.skill import price_text
    from batuta.streams.pipelines.outline import stages_of, topics_of

    compiled, pipeline = on_disk.loaded.plan, on_disk.loaded.pipeline
    title = Text(pipeline.name, style="bold")
    about = f" version {pipeline.version}, {on_disk.document.tree.name}"
    yield title.append(about, style="not bold")
    yield _table(("topic", "key"), ((one.name, one.key) for one in topics_of(compiled)))
    yield _table(
        ("stage", "state by", "does"),
        ((one.name, one.key, "\n".join(one.does)) for one in stages_of(on_disk)),
    )
    yield _table(
        ("feature", "kind", "stage", "by", "how"),
        ((one.name, one.kind, one.stage, one.key, one.how) for one in compiled.features),
    )
    yield _table(
        ("model", "kind", "adapter", "sees", "costs"),
        (
            (name, entry.kind, entry.adapter, ", ".join(compiled.inputs[name]), price_text(entry))
            for name, entry in on_disk.document.file.models.items()
        ),
    )
    yield _table(
        ("import", "for", "version", "sha256"),
        ((one.use, one.field, one.version, one.sha256[:12]) for one in on_disk.imports),
    )


def _table(heads: tuple[str, ...], rows: "Iterable[tuple[str, ...]]") -> "Table":
    from rich.box import SIMPLE_HEAD
    from rich.table import Table
    from rich.text import Text

    table = Table(box=SIMPLE_HEAD, show_edge=False, pad_edge=False, title_justify="left")
    for head in heads:
        table.add_column(head, overflow="fold")
    for row in rows:
        table.add_row(*(Text(cell) for cell in row))
    return table
