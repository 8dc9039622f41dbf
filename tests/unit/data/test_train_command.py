"""`batuta train`: a file that can be made again, stored with its hash, and clear refusals."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from hashlib import sha256
from pathlib import Path

import pytest

from batuta.streams.model_store import ModelStore

BATUTA = (sys.executable, "-c", "import sys; from batuta.streams.cli import main; sys.exit(main())")


def train(models: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    clean = {name: value for name, value in os.environ.items() if not name.startswith("BATUTA_")}
    environment = {**clean, "BATUTA_MODEL_DIR": str(models), "NO_COLOR": "1"}
    return subprocess.run(
        [*BATUTA, "train", *arguments],
        capture_output=True,
        text=True,
        timeout=240,
        env=environment,
        check=False,
    )


def test_the_same_seed_gives_the_same_file_wherever_it_is_stored(
    small_history: Path, tmp_path: Path
) -> None:
    told: list[dict[str, object]] = []
    for models in (tmp_path / "one", tmp_path / "two"):
        options = ("--data", str(small_history), "--train-start", "7", "--seed", "5", "--json")
        done = train(models, "fraud", *options)
        assert (done.returncode, done.stderr) == (0, "")
        told.append(json.loads(done.stdout))
    assert told[0]["sha256"] == told[1]["sha256"]
    assert told[0]["trained_on"] == told[1]["trained_on"]
    stored = Path(str(told[0]["path"]))
    assert stored.suffix == ".onnx"
    assert sha256(stored.read_bytes()).hexdigest() == told[0]["sha256"]
    store = ModelStore(tmp_path / "one")
    card = store.card("fraud")
    assert card is not None
    assert (card.version, card.trained_on["seed"]) == (told[0]["model"], 5)
    assert store.load(card).inputs == card.inputs


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("fraud", "--data", "no/such/folder"), "holds no transactions.parquet"),
        (("frauds", "--data", "."), "no pipeline is called 'frauds' (did you mean fraud?)"),
        (("fraud", "--data", "HISTORY", "--train-start", "90"), "nothing can be learnt"),
        (("fraud", "--data", "HISTORY", "--train-start", "-1"), "--train-start"),
        (("fraud",), "--data"),
    ],
)
def test_what_cannot_be_trained_is_refused(
    arguments: tuple[str, ...], said: str, small_history: Path, tmp_path: Path
) -> None:
    given = [str(small_history) if one == "HISTORY" else one for one in arguments]
    done = train(tmp_path, *given)
    assert (done.returncode, done.stdout) == (2, "")
    assert said in done.stderr
    assert not list(tmp_path.iterdir())
