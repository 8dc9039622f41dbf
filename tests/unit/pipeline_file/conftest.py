"""A pipeline of parcels and the parts it names, in a folder of its own."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path


PARCELS = """\
pipeline: parcels
version: 3
source:
  schema: "parcel_parts:Parcel"
  id: parcel
  key: sender
  time: at
  zone: Europe/Madrid
  duplicates: {within: 2d}
understand:
  - senders: {by: sender, count: [1h, 1d], mean: {weight: [1d]}}
  - depots: {by: depot, count: [1h]}
  - delays: {by: depot, share: {of: lost, over: [7d], delay: 2d}}
  - context: {heavy: "weight > 20.0", night: "hour(at) < 6", both: "heavy && night"}
  - shape: {use: "parcel_parts:Shape", with: {scale: 2.0}}
models:
  scales:
    {adapter: python, use: "parcel_parts:Scales", inputs: [weight, senders, both], timeout: 20ms}
plans:
  only: {ask: scales}
verify:
  - {use: "parcel_parts:Steady", reason: too_sure}
decide:
  - {when: "score > 0.9 && heavy", outcome: block, action: hold}
  - {when: "score > 0.5", outcome: review, reason: odd}
  - {otherwise: approve}
actions:
  hold: {version: 2}
escalate: {queue: dispatch, due: 1h}
notify:
  - {when: "outcome == 'block'", severity: critical, title: held}
sinks:
  pager: "parcel_parts:Pager"
labels:
  schema: "parcel_parts:Loss"
  id: parcel
  time: known_at
  of: lost
"""
PARTS = '''\
"""Parts of the parcels pipeline."""

from typing import Annotated

import numpy as np
from pydantic import BaseModel, Field

from batuta.agents.models.answers import Answers
from batuta.schemas.times import EventTime


class Parcel(BaseModel):
    parcel: str
    sender: str
    depot: str
    at: EventTime
    weight: Annotated[float, Field(ge=0, le=1e6)]
    size: float | None = None
    price: float = 0.0
    pieces: list[str] = []
    value: float


class Loss(BaseModel):
    parcel: str
    known_at: EventTime
    lost: bool
    note: str = ""


class Shape:
    names = ("shape_ratio",)

    def __init__(self, scale: float) -> None:
        self.scale = scale

    def compute(self, events):
        return np.array([[self.scale * event.data["weight"]] for event in events])


class Pace:
    names = ("pace",)
    width = 2
    per = ()

    def observe(self, memory, events):
        return np.zeros((len(events), 1))


class Broad(Pace):
    width = 5000


class Scales:
    def answer(self, inputs):
        return np.full(len(inputs), 0.25)


class Second:
    def answer_rows(self, rows):
        return Answers(np.full(len(rows), 0.25))


class Steady:
    def passes(self, scores, features):
        return scores < 0.999


class Pager:
    channel = "pager"

    def __init__(self):
        self.told = []

    async def deliver(self, notification):
        self.told.append(notification)

    async def close(self):
        pass


class Nothing:
    pass
'''


@pytest.fixture(scope="session")
def parcels_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder with the parts; files are written beside them."""
    folder = tmp_path_factory.mktemp("parcels")
    (folder / "parcel_parts.py").write_text(PARTS)
    (folder / "parcel_broken.py").write_text("raise RuntimeError('no luck')\n")
    (folder / "parcel_needy.py").write_text("import a_module_nobody_has\n")
    (folder / "scales.onnx").write_bytes(b"no model")
    return folder


@pytest.fixture
def parcels(parcels_folder: Path) -> Callable[..., Path]:
    """Write the parcels pipeline, some of its text replaced; return the file."""

    def write(old: str = "", new: str = "") -> Path:
        assert old in PARCELS, f"the pipeline does not hold {old!r}"
        file = parcels_folder / "parcels.yaml"
        file.write_text(PARCELS.replace(old, new, 1) if old else PARCELS)
        return file

    return write
