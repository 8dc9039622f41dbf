"""Whatever is wrong with a pipeline file is told with its line, field, value and remedy."""

from __future__ import annotations

from itertools import groupby
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from batuta.schemas.errors import UsageError
from batuta.streams.pipelines.loading import load_file

if TYPE_CHECKING:
    from collections.abc import Callable

    Write = Callable[..., Path]

CASES = Path(__file__).parent / "bad_input.txt"


def cases() -> list[tuple[str, str, str]]:
    """Return what is replaced, by what, and what is said of it."""
    lines = [line for line in CASES.read_text().splitlines() if not line.startswith("#")]
    blocks = [[*block] for filled, block in groupby(lines, bool) if filled]
    parts = [
        ["\n".join(line[1:] for line in block if line[0] == sign) for sign in "-+="]
        for block in blocks
    ]
    return [(old, new, said) for old, new, said in parts]


def refusal(file: Path) -> str:
    with pytest.raises(UsageError) as refused:
        load_file(file)
    return str(refused.value)


@pytest.mark.parametrize(("old", "new", "said"), cases())
def test_a_fault_is_told_exactly(parcels: Write, old: str, new: str, said: str) -> None:
    assert refusal(parcels(old, new)) == said


def test_the_cases_are_many() -> None:
    assert len(cases()) >= 90


def test_the_pipeline_itself_is_right(parcels: Write) -> None:
    assert load_file(parcels()).loaded.pipeline.name == "parcels"


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        (
            'heavy: "weight',
            'weight: "weight',
            'understand[3].context.weight: "weight" is a field of the event already;',
        ),
        (
            'heavy: "weight',
            'score: "weight',
            'context.score: "score" means something else in expressions; choose another name',
        ),
        (
            'heavy: "weight',
            'shape_ratio: "weight',
            'shape: "shape_ratio" is computed already, under context; choose another name',
        ),
        (
            "timeout: 20ms",
            "sha256: " + 32 * "ab",
            'parcels.yaml:18:92: models.scales.sha256: "' + 32 * "ab" + '" is not its sha256,',
        ),
        (
            '"weight > 20.0"',
            '"' + 112 * "weight + " + 'weight > 1.0"',
            "has 1020 characters; keep it within 1000 by naming parts in context",
        ),
        (
            '"weight > 20.0"',
            '"' + 30 * "weight + " + 'weight > 1.0"',
            "it is nested more than 24 deep; name parts of it in context",
        ),
    ],
)
def test_a_fault_is_among_what_is_told(parcels: Write, old: str, new: str, said: str) -> None:
    assert said in refusal(parcels(old, new))


def test_every_fault_is_told_at_once_in_the_order_of_the_file(parcels: Write) -> None:
    file = parcels("{within: 2d}", "{within: 2}")
    file.write_text(file.read_text().replace("due: 1h", "due: 1").replace("20ms", "20"))
    fields = [line.split(": ")[1] for line in refusal(file).splitlines()]
    assert fields == ["source.duplicates.within", "models.scales.timeout", "escalate.due"]


def test_more_faults_than_anybody_reads_are_counted(parcels: Write) -> None:
    wrong = "".join(f"  - {{when: 'score > 0.1', outcome: o{n}}}\n" for n in range(30))
    said = refusal(parcels("  - {otherwise", f"{wrong}  - {{otherwise")).splitlines()
    assert len(said) == 21
    assert said[-1] == "and 10 more"


@pytest.mark.parametrize("text", ["", "# nothing\n", "- a\n", "7\n"])
def test_a_file_that_is_no_mapping_is_refused(tmp_path: Path, text: str) -> None:
    (tmp_path / "empty.yaml").write_text(text)
    assert "is no mapping; write name: value lines" in refusal(tmp_path / "empty.yaml")


def test_a_large_file_is_refused_unread(tmp_path: Path) -> None:
    (tmp_path / "large.yaml").write_text("a: " + "x" * 200_000)
    assert "keep it below 131072" in refusal(tmp_path / "large.yaml")


@pytest.mark.parametrize("opening", ["[", "{a: ", "- "])
def test_deep_nesting_is_refused_early(tmp_path: Path, opening: str) -> None:
    (tmp_path / "deep.yaml").write_text(opening * 30_000)
    assert "nested more than 16 deep; keep it flat" in refusal(tmp_path / "deep.yaml")


def test_laughter_is_refused(tmp_path: Path) -> None:
    laughs = "a: &a [x, x]\n" + "".join(f"b{n}: &b{n} [*a, *a]\n" for n in range(9))
    (tmp_path / "laughs.yaml").write_text(laughs)
    assert "&a is an anchor" in refusal(tmp_path / "laughs.yaml")


def test_a_file_that_is_no_utf8_or_not_there_is_refused(tmp_path: Path) -> None:
    (tmp_path / "bytes.yaml").write_bytes(b"pipeline: \xff")
    assert "byte 10 is no UTF-8; save the file as UTF-8" in refusal(tmp_path / "bytes.yaml")
    assert "No such file or directory; name a pipeline file" in refusal(tmp_path / "gone.yaml")
