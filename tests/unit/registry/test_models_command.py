"""`batuta models`: versions are written once, pointers move, and a pipeline file follows them."""

from __future__ import annotations

import asyncio
import json
import sys
from typing import TYPE_CHECKING, Any

import pytest

from batuta.schemas.control_codec import (
    decode_model_version,
    decode_pointer,
    encode_model_version,
    encode_pointer,
)
from batuta.schemas.errors import RefusedEventError, UsageError
from batuta.schemas.model_version import ModelVersion, Pointer
from batuta.schemas.record import Record
from batuta.streams.cli import main
from batuta.streams.model_store import ModelStore
from batuta.streams.pipelines.loading import load_file
from batuta.streams.pipelines.opening import open_models
from batuta.streams.registry.files import live_card
from batuta.streams.registry.live import live_models
from batuta.streams.registry.registry import Registry
from batuta.streams.settings import load_settings

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path


@pytest.fixture
def run(
    embedded_broker: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> Callable[..., tuple[int, Any, str]]:
    """Run the command; return its exit code, its JSON and what it said."""
    monkeypatch.setenv("BATUTA_BOOTSTRAP", embedded_broker)
    monkeypatch.setenv("BATUTA_MODEL_DIR", str(tmp_path / "kept"))

    def command(*words: str) -> tuple[int, Any, str]:
        monkeypatch.setattr(sys, "argv", ["batuta", "models", *words, "--json"])
        try:
            code = main()
        except SystemExit as left:
            code = int(left.code or 0)
        said = capsys.readouterr()
        return code, json.loads(said.out) if said.out else None, said.err

    return command


def test_a_version_walks_from_registered_to_archived(
    folder: Path, run: Callable[..., tuple[int, Any, str]], embedded_broker: str
) -> None:
    file = str(folder / "crates.yaml")
    settings = load_settings(bootstrap=embedded_broker)
    offsets: list[int] = []

    def live() -> str:
        on_disk = load_file(folder / "crates.yaml")
        live = live_models(settings, on_disk)
        assert live is not None
        offsets.append(live.control_offset)
        return open_models(on_disk, folder / "kept", live=live.cards)["scales"].version

    with pytest.raises(UsageError, match="no version of scales is in production for crates"):
        live()
    registered = [run("register", file, str(folder / f"{n}.onnx")) for n in (1, 2, 1)]
    assert [(code, told["new"]) for code, told, _ in registered] == [
        (0, True),
        (0, True),
        (0, False),
    ]
    first, second, _ = [told["version_id"] for _, told, _ in registered]
    assert run("promote", file, first)[1] == {
        "version_id": first,
        "stage": "production",
        "changed": True,
        "before": None,
    }
    assert live() == first
    assert run("promote", file, first)[1]["changed"] is False
    code, _, said = run("archive", file, first)
    assert (code, "stands at production; promote another version there first" in said) == (2, True)
    code, _, said = run("promote", file, second, "--instead-of", second)
    assert (code, f"{first} stands at production of scales, expected {second}" in said) == (1, True)
    code, told, _ = run("promote", file, second.partition("@")[2][:6], "--instead-of", first)
    assert (code, told["before"]) == (0, first)
    assert live() == second
    assert run("archive", file, first)[1]["changed"] is True
    code, _, said = run("promote", file, first)
    assert (code, "is archived" in said) == (2, True)

    _, listed, _ = run("list", "crates")
    assert run("list", file)[1] == listed
    assert [one["stages"] for one in listed["versions"]] == [["archived"], ["production"]]
    assert 0 < offsets[0] < offsets[1] < listed["control_offset"]
    _, shown, _ = run("show", file, second)
    assert shown["price"] == "0.00001 EUR"
    assert shown["skill"]["inputs"] == ["weight", "size"]
    assert (shown["skill"]["risk"], shown["skill"]["kind"]) == ("low", "predictive")


def test_what_cannot_be_meant_is_refused(
    folder: Path, run: Callable[..., tuple[int, Any, str]]
) -> None:
    file = str(folder / "crates.yaml")
    code, told, error = run("list", "nobody")
    assert (code, told["versions"], "batuta models register adds one" in error) == (1, [], True)
    for words, said in (
        (("register", file, str(folder / "gone.onnx")), "cannot be read: No such file"),
        (("register", file, str(folder / "crates.yaml")), "is no ONNX model"),
        (("register", file, "--model", "scale"), "is no model of crates; choose one of: scales"),
        (("register", file), "no model of crates was trained here; name a file"),
    ):
        code, told, error = run(*words)
        assert (code, told) == (2, None), words
        assert said in error
    run("register", file, str(folder / "1.onnx"))
    code, _, error = run("show", file, "scales@000000000000")
    assert (code, "is no version of crates; choose one of: scales@" in error) == (2, True)


def test_a_kept_file_that_was_changed_is_refused(
    folder: Path, run: Callable[..., tuple[int, Any, str]], embedded_broker: str
) -> None:
    file = str(folder / "crates.yaml")
    _, told, _ = run("register", file, str(folder / "2.onnx"))
    (kept,) = (folder / "kept" / "crates").glob("*.onnx")
    kept.write_bytes(kept.read_bytes() + b"x")
    run("promote", file, told["version_id"])
    standing = asyncio.run(Registry(load_settings(bootstrap=embedded_broker)).standing())
    card = live_card(standing, "crates", "scales")
    with pytest.raises(UsageError, match=f"expected {told['sha256']}"):
        ModelStore(folder / "kept").load(card)


VERSION = {
    "version": 1,
    "version_id": "scales@abababababab",
    "pipeline": "crates",
    "model": "scales",
    "sha256": "ab" * 32,
    "stage": "registered",
    "adapter": "onnx",
    "algorithm": "trees",
    "skill": {
        "kind": "predictive",
        "purpose": "",
        "inputs": ["weight"],
        "output": "score from 0 to 1",
        "cost": "",
        "latency_ms": 20,
        "risk": "medium",
    },
    "price": "",
    "registered_at": "2018-04-01T00:00:00Z",
}
POINTER = {
    "version": 1,
    "pipeline": "crates",
    "model": "scales",
    "stage": "production",
    "points_to": "scales@abababababab",
    "set_at": "2018-04-01T00:00:00Z",
}


def test_versions_and_pointers_are_written_as_ever() -> None:
    version = ModelVersion.model_validate_json(json.dumps(VERSION))
    written = encode_model_version(version)
    assert (written.topic, written.key) == ("batuta.versions", b"crates/scales@abababababab")
    assert json.loads(written.value or b"") == VERSION
    assert decode_model_version(Record("", 0, 0, 0, written.key, written.value)) == version
    pointer = Pointer.model_validate_json(json.dumps(POINTER))
    moved = encode_pointer(pointer)
    assert (moved.topic, moved.key) == ("batuta.control", b"model/crates/scales/production")
    assert json.loads(moved.value or b"") == POINTER
    assert decode_pointer(Record("", 0, 0, 0, moved.key, moved.value)) == pointer
    assert decode_pointer(Record("", 0, 0, 0, b"kill/crates", b"{}")) is None


@pytest.mark.parametrize("value", [None, b"", b"[]", b"{}", b'{"version": 2}', b"\xff"])
def test_a_record_that_cannot_be_read_is_refused(value: bytes | None) -> None:
    record = Record("batuta.control", 0, 7, 0, b"model/crates/scales/production", value)
    with pytest.raises(RefusedEventError, match=r"batuta\.control offset 7"):
        decode_pointer(record)
