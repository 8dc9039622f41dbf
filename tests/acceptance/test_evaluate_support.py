"""`batuta evaluate support`: a few questions through the real topics, drafts of one policy."""

from __future__ import annotations

import csv
import gzip
import json
import os
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from batuta.agents.support.history import SupportHistory
from batuta.schemas.errors import UsageError
from batuta.streams.data.histories import read_history

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

BATUTA = (sys.executable, "-c", "import sys; from batuta.streams.cli import main; sys.exit(main())")
QUESTIONS = {
    "card": (
        "my card is lost",
        "I lost a card",
        "the card was stolen",
        "card gone",
        "lost my card",
    ),
    "fee": (
        "what is this fee",
        "a fee was charged",
        "why a fee",
        "fees are wrong",
        "the fee again",
    ),
    "login": ("cannot log in", "login fails", "the login is broken", "log in again", "no login"),
}
ASKED = (("where is my lost card", "card"), ("the fee is wrong", "fee"), ("login broken", "login"))
GUIDELINES = {
    "Cards": {
        "subflows": {
            "Lost card": {
                "actions": [
                    {
                        "type": "interaction",
                        "button": "Block",
                        "text": f"{text} with [Block]:",
                        "subtext": ["Only once"],
                    }
                    for text in (
                        "Ask for the name on the lost card",
                        "Block the card number in the register",
                        "Order another plastic from the printing plant",
                        "Tell the delivery date",
                    )
                ],
                "instructions": ["The customer has lost a card."],
            }
        }
    }
}


@pytest.fixture
def data(tmp_path: Path) -> Path:
    folder = tmp_path / "banking77"
    folder.mkdir()
    past = [(text, label) for label, texts in QUESTIONS.items() for text in texts]
    write(folder / "train.csv.gz", past)
    write(folder / "test.csv.gz", ASKED)
    (tmp_path / "abcd_policy").mkdir()
    (tmp_path / "abcd_policy" / "guidelines.json").write_text(json.dumps(GUIDELINES))
    return folder


def write(path: Path, rows: Sequence[tuple[str, str]]) -> None:
    with gzip.open(path, "wt", newline="") as file:
        csv.writer(file).writerows([("text", "category"), *rows])


def evaluate(folder: Path, at: Path, *further: str) -> subprocess.CompletedProcess[str]:
    clean = {name: value for name, value in os.environ.items() if not name.startswith("BATUTA_")}
    options = ("evaluate", "support", "--data", str(folder), "--json", *further)
    return subprocess.run(
        [*BATUTA, *options],
        capture_output=True,
        text=True,
        timeout=240,
        cwd=at,
        env={**clean, "NO_COLOR": "1"},
        check=False,
    )


def test_questions_go_through_the_topics_and_drafts_through_the_checks(
    data: Path, tmp_path: Path
) -> None:
    done = evaluate(data, tmp_path)
    assert done.returncode == 0, done.stderr
    told = json.loads(done.stdout)
    assert told["metrics"]["accuracy"] == 1.0
    assert told["metrics"]["violations_found"] > 0.9
    assert told["metrics"]["false_alarms"] < 0.2
    assert (told["events"], told["lost"], told["doubled"]) == (3, 0, 0)
    assert told["facts"]["planted_drafts"] >= 500
    assert (tmp_path / "evaluation-support.html").is_file()


@pytest.mark.parametrize("page", [".", "taken/page.html"])
def test_a_page_that_cannot_be_written_is_told_before_anything_is_read(
    tmp_path: Path, page: str
) -> None:
    (tmp_path / "taken").touch()
    done = evaluate(tmp_path / "nothing", tmp_path, "--page", page)
    assert (done.returncode, done.stdout) == (2, "")
    assert f"cannot write {page}; name another file by --page" in done.stderr


def test_a_missing_file_is_named(data: Path, tmp_path: Path) -> None:
    (tmp_path / "abcd_policy" / "guidelines.json").unlink()
    with pytest.raises(UsageError, match=r"holds no \.\./abcd_policy/guidelines\.json"):
        read_history(SupportHistory(), data)
