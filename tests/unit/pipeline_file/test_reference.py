"""The page and the exported schema say what the models say."""

from __future__ import annotations

import re
from importlib.resources import files
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from jsonschema import Draft202012Validator
from jsonschema.exceptions import ValidationError

from batuta.agents.policy.names import HELPERS
from batuta.schemas.pipeline_file.entries import ModelEntry, SourceEntry
from batuta.schemas.pipeline_file.export import SECTIONS, file_schema, rows_of
from batuta.schemas.pipeline_file.yaml_tree import read_tree
from batuta.streams.pipelines.imports import GROUPS

if TYPE_CHECKING:
    from collections.abc import Callable

PAGE = (Path(__file__).parents[3] / "docs" / "pipeline-file.md").read_text("utf-8")


def sections() -> dict[str, list[str]]:
    """Return the rows of each table of keys, by its heading."""
    parts = re.split(r"^### (.+)$", PAGE.partition("## Where features")[0], flags=re.MULTILINE)
    pairs = zip(parts[1::2], parts[2::2], strict=True)
    return {name: re.findall(r"^\| `.*$", text, re.MULTILINE) for name, text in pairs}


def test_the_page_has_every_key_with_its_unit_and_default() -> None:
    assert sections() == {name: rows_of(model) for name, model in SECTIONS.items()}


def test_the_page_has_every_helper_and_group() -> None:
    assert dict(re.findall(r"^\| `(\w+)` \| ([^|]+) \|$", PAGE, re.MULTILINE)).items() >= (
        HELPERS.items()
    )
    assert set(re.findall(r"^\| `(batuta\.\w+)` \|", PAGE, re.MULTILINE)) == {*GROUPS.values()}


def test_units_stand_in_tables() -> None:
    assert "| `timeout` | a duration | `1s` |" in "\n".join(rows_of(ModelEntry))
    assert "| `size` | a size | `1MiB` |" in "\n".join(rows_of(SourceEntry))


def test_the_schema_takes_what_is_right(parcels: Callable[..., Path]) -> None:
    schema = file_schema()
    Draft202012Validator.check_schema(schema)
    shipped = files("batuta.agents.fraud").joinpath("pipeline.yaml").read_text("utf-8")
    for text in (shipped, parcels().read_text()):
        Draft202012Validator(schema).validate(read_tree(text, "x").value)


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("version: 3", "version: three"),
        ("key: sender", "kee: sender"),
        ("{within: 2d}", "{within: 2}"),
        ("count: [1h, 1d]", "count: [1h, 7x]"),
        ("outcome: block", "outcome: blok"),
        ("timeout: 20ms", "cost: 0.1"),
        ("- depots: {by", "- more: {}\n    depots: {by"),
        ('"parcel_parts:Pager"', "{yuse: a}"),
    ],
)
def test_the_schema_refuses_what_is_wrong(parcels: Callable[..., Path], old: str, new: str) -> None:
    value = read_tree(parcels(old, new).read_text(), "x").value
    with pytest.raises(ValidationError):
        Draft202012Validator(file_schema()).validate(value)
