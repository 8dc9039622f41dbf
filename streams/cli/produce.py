"""`batuta produce TOPIC FILE`: a file's records onto a topic."""

import asyncio
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final

import typer

from batuta.streams.cli.exits import Exit, leave
from batuta.streams.cli.options import Bootstrap, Json
from batuta.streams.cli.terminal import print_json, say, stdout

if TYPE_CHECKING:
    from collections.abc import Iterator

    from batuta.streams.cli.progress import Meter
    from batuta.streams.event_files import BadLine, FileFormat, Line
    from batuta.streams.publisher import Publisher, Timed

__all__ = ["produce"]

_BLOCK: Final = 1_000
_SHOWN_MAX: Final = 20


def produce(
    topic: Annotated[str, typer.Argument(metavar="TOPIC", help="Where to; it must exist.")],
    file: Annotated[Path, typer.Argument(metavar="FILE", help="JSON lines, CSV or Parquet.")],
    *,
    key: Annotated[
        str | None,
        typer.Option(
            "--key", metavar="FIELD", help="The field whose text is the key; else the pipeline's."
        ),
    ] = None,
    file_format: Annotated[
        str | None,
        typer.Option("--format", metavar="FORMAT", help="jsonl, csv or parquet; else by suffix."),
    ] = None,
    bootstrap: Bootstrap = None,
    as_json: Json = False,
) -> None:
    """Publish the records of a file as JSON.

    A line that is no record is reported by its number and skipped; then the exit code is 1.

    Example: batuta produce fraud.events transactions.csv --bootstrap 127.0.0.1:9092
    """
    from batuta.streams.event_files import format_of

    plan = _Plan(topic, file, format_of(file, file_format), key, bootstrap)
    done = asyncio.run(_produce(plan))
    if as_json:
        print_json(done.as_json(topic))
    else:
        stdout().print(f"{done.produced:,} records published to {topic}")
    if done.refused:
        say(f"not published: {done.refused:,} of {file}", style="yellow")
        leave(Exit.NEGATIVE)


@dataclass(frozen=True)
class _Plan:
    topic: str
    file: Path
    file_format: "FileFormat"
    key: str | None
    bootstrap: str | None


@dataclass
class _Done:
    """What became of the file's lines; of the bad ones, the first few are kept."""

    produced: int = 0
    refused: int = 0
    bad_lines: "list[BadLine]" = field(default_factory=list["BadLine"])

    def refuse(self, bad: "BadLine") -> None:
        self.refused += 1
        if len(self.bad_lines) < _SHOWN_MAX:
            self.bad_lines.append(bad)
            say(f"line {bad.number}: {bad.detail}", style="yellow")

    def as_json(self, topic: str) -> dict[str, object]:
        bad = [{"line": one.number, "error": one.detail} for one in self.bad_lines]
        return {
            "topic": topic,
            "produced": self.produced,
            "refused": self.refused,
            "bad_lines": bad,
        }


async def _produce(plan: _Plan) -> _Done:
    from batuta.streams.cli.connection import connection
    from batuta.streams.cli.pipelines import pipeline_of_topic
    from batuta.streams.cli.progress import meter
    from batuta.streams.event_files import count_lines, read_lines
    from batuta.streams.publisher import Publisher

    shipped = pipeline_of_topic(plan.topic)
    key = plan.key or (shipped.pipeline.source.key_field if shipped else None)
    total = count_lines(plan.file, plan.file_format)
    lines = read_lines(plan.file, plan.file_format, shipped.data if shipped else None)
    options = connection(plan.bootstrap)
    async with Publisher(options, plan.topic) as publisher:
        with meter(f"publishing to {plan.topic}", total) as bar:
            return await _publish(publisher, _Lines(lines, key, plan.topic), bar)


@dataclass
class _Lines:
    """A file's lines, and how they become records."""

    lines: "Iterator[Line | BadLine]"
    key: str | None
    topic: str


async def _publish(publisher: "Publisher", source: _Lines, bar: "Meter") -> _Done:
    from batuta.streams.event_files import BadLine

    done, block = _Done(), list["Timed"]()
    for line in source.lines:
        found = line if isinstance(line, BadLine) else _timed(line, source)
        if isinstance(found, BadLine):
            done.refuse(found)
            continue
        block.append(found)
        if len(block) == _BLOCK:
            await publisher.publish(block)
            block.clear()
            bar.reach(publisher.published + done.refused)
    await publisher.publish(block)
    await publisher.flush()
    done.produced = publisher.published
    return done


def _timed(line: "Line", source: _Lines) -> "Timed | BadLine":
    """Return a line as a record, unless it lacks the field that keys it."""
    from batuta.schemas.record import Output
    from batuta.streams.event_files import BadLine
    from batuta.streams.publisher import Timed

    key = None
    if source.key is not None:
        value = line.fields.get(source.key)
        if value is None:
            return BadLine(line.number, f"no field {source.key!r} to key the record by")
        key = str(value).encode()
    output = Output(source.topic, key, line.json)
    return Timed(time.time_ns() // 1_000_000, output)
