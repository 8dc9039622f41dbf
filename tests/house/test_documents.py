"""Documents say what is: versions, names, links, tables and commands are compared with the code."""

from __future__ import annotations

import ast
import re
import shlex
import tomllib
from typing import TYPE_CHECKING

import orjson
import pytest
import typer
from prometheus_client import CollectorRegistry
from typer.core import TyperGroup

from batuta.schemas.refusals import REASONS
from batuta.schemas.wire import DecisionWire
from batuta.streams.cli.app import app
from batuta.streams.settings import Settings
from batuta.streams.stages import ROUTE
from batuta.streams.telemetry.metrics import families_of

if TYPE_CHECKING:
    from pathlib import Path

#: Refusals beyond the codec's, by the agents and the lane.
FURTHER_REASONS = {
    *("id_reused", "output_refused", "output_too_large", "sink_unavailable", "gave_up"),
}


@pytest.fixture(scope="session")
def documents(root: Path) -> dict[str, str]:
    """Every document, by its path below the root."""
    paths = [*root.glob("*.md"), *(root / "docs").rglob("*.md")]
    return {path.relative_to(root).as_posix(): path.read_text("utf-8") for path in paths}


def first_cells(document: str) -> list[str]:
    """Return what the first column of every table names in backticks."""
    return re.findall(r"^\| `([^`]+)`", document, re.MULTILINE)


def test_the_changelog_begins_with_the_version(root: Path, documents: dict[str, str]) -> None:
    version = tomllib.loads((root / "pyproject.toml").read_text("utf-8"))["project"]["version"]
    head = re.search(r"^## \[([^\]]+)\] - (.+)$", documents["CHANGELOG.md"], re.MULTILINE)
    assert head is not None
    assert head[1] == version
    assert re.fullmatch(r"Unreleased|\d{4}-\d\d-\d\d", head[2]), head[2]


def test_every_link_leads_somewhere(root: Path, documents: dict[str, str]) -> None:
    broken = [
        f"{path}: {target}"
        for path, text in documents.items()
        for target in re.findall(r"\]\(([^)#\s]+)[^)]*\)", text)
        if "://" not in target and not ((root / path).parent / target).exists()
    ]
    assert not broken


def test_every_file_that_is_named_exists(root: Path, documents: dict[str, str]) -> None:
    named = re.compile(r"`((?:schemas|agents|streams|tests|docs|deploy)/[\w./-]*)`")
    gone = [
        f"{path}: {name}"
        for path, text in documents.items()
        for name in named.findall(text)
        if not (root / name).exists()
    ]
    assert not gone


def test_decisions_say_what_a_decision_says(documents: dict[str, str]) -> None:
    for path, text in documents.items():
        if path.startswith("docs/decisions/"):
            assert re.match(rf"# {int(path.split('/')[-1][:4])}\. ", text), path
            assert re.search(r"^Date: \d{4}-\d\d-\d\d\. Status: \w+", text, re.MULTILINE), path
            parts = re.findall(r"^## (.+)$", text, re.MULTILINE)
            assert parts == ["Context", "Decision", "Consequences"], path


def test_every_private_attribute_has_its_reason(root: Path, documents: dict[str, str]) -> None:
    lanes = root / "streams" / "lanes"
    halves = (lanes / "kafka_shim.py", lanes / "kafka_fetches.py")
    shim = ast.parse("".join(half.read_text("utf-8") for half in halves))
    own = {node.name for node in ast.walk(shim) if isinstance(node, ast.FunctionDef)}
    own |= {node.name for node in ast.walk(shim) if isinstance(node, ast.AsyncFunctionDef)}
    attributes = {
        node.attr
        for node in ast.walk(shim)
        if isinstance(node, ast.Attribute) and getattr(node.value, "id", "") != "self"
    }
    strings = {str(node.value) for node in ast.walk(shim) if isinstance(node, ast.Constant)}
    touched = {name for name in attributes | strings if re.fullmatch(r"_[a-z]\w+", name)} - own
    reasons = documents["docs/decisions/0002-aiokafka-private-attributes.md"]
    assert touched
    assert [name for name in sorted(touched) if f"{name}`" not in reasons.replace("()", "")] == []


def test_every_setting_is_documented_with_its_default(documents: dict[str, str]) -> None:
    rows = re.findall(
        r"^\| `BATUTA_(\w+)` \|([^|]*)\|", documents["docs/operations.md"], re.MULTILINE
    )
    said = {name.lower(): default.strip(" `") for name, default in rows}
    fields = Settings.model_fields
    assert list(said) == list(fields)
    for name, field in fields.items():
        default = field.get_default()
        plain = default is not None and field.default_factory is None
        assert said[name] == (str(default) if plain else ""), name


def test_every_metric_is_documented(documents: dict[str, str]) -> None:
    registry = CollectorRegistry()
    families_of(registry)
    ours = {
        f"{family.name}_total" if family.type == "counter" else family.name
        for family in registry.collect()
        if family.name.startswith("batuta_")
    }
    said = {name for name in first_cells(documents["docs/operations.md"]) if "batuta_" in name}
    assert said == ours | {"batuta_broker_up"}


def test_every_alert_is_documented(root: Path, documents: dict[str, str]) -> None:
    rules = (root / "deploy" / "prometheus" / "rules" / "batuta.yml").read_text("utf-8")
    alerts = set(re.findall(r"- alert: (\w+)", rules))
    said = {cell for cell in first_cells(documents["docs/operations.md"]) if cell[0].isupper()}
    assert {cell for cell in said if not cell.startswith("BATUTA_")} == alerts


def test_every_reason_is_documented_as_the_code_says_it(documents: dict[str, str]) -> None:
    rows = dict(
        re.findall(r"^\| `(\w+)` \| ([^|]+?) \|", documents["docs/errors.md"], re.MULTILINE)
    )
    assert {reason: rows.get(reason) for reason in REASONS} == dict(REASONS)
    assert set(rows) == {*REASONS, *FURTHER_REASONS}


def test_the_route_is_drawn_as_it_is(documents: dict[str, str]) -> None:
    rows = re.findall(r"^\| (\w+) \| `", documents["docs/architecture.md"], re.MULTILINE)
    assert rows == [stage.__name__ for stage in ROUTE]


def test_the_readme_lists_every_command(documents: dict[str, str]) -> None:
    rows = [cell for cell in first_cells(documents["README.md"]) if cell.startswith("batuta ")]
    assert [row.split()[1] for row in rows] == list(whole_command().commands)


def whole_command() -> TyperGroup:
    group = typer.main.get_command(app)
    assert isinstance(group, TyperGroup)
    return group


def test_the_decision_that_is_shown_is_one(documents: dict[str, str]) -> None:
    (shown,) = re.findall(r"^```json\n(.*?)^```", documents["README.md"], re.MULTILINE | re.DOTALL)
    decision = DecisionWire.model_validate_json(shown)
    # The fraud pipeline checks nothing, and its model does not follow the registry.
    optional = {"control_offset", "checks", "corrections", "taint"}
    assert set(orjson.loads(shown)) == set(DecisionWire.model_fields) - optional
    assert decision.event_id == "tx-000003527"


def test_every_command_that_is_shown_parses(documents: dict[str, str]) -> None:
    shown: list[str] = []
    for text in documents.values():
        for block in re.findall(r"^```sh\n(.*?)^```", text, re.MULTILINE | re.DOTALL):
            shown += re.findall(
                r"(?:^|&& |uv run )batuta (.+?)(?:$| \|| &&|  #)", block, re.MULTILINE
            )
        shown += re.findall(r"`batuta (\w+ [^`]*?)`", text)
    assert shown
    known = whole_command().commands
    for line in shown:
        if "[" in line or re.search(r"[A-Z]{4}", line) or line.endswith("..."):
            continue  # a synopsis, not a command
        name, *words = shlex.split(line)
        known[name].make_context(name, words)  # leaves where an option or argument is wrong
