"""A running worker takes up what the registry says, refuses what it cannot, and never goes back."""

from __future__ import annotations

import asyncio
import itertools
import os
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import pytest
from confluent_kafka import Producer

from batuta.schemas.control_codec import encode_pointer
from batuta.schemas.errors import RefusedEventError, RegistryMovedError, UsageError
from batuta.schemas.model_version import Pointer
from batuta.streams.broker.process import BrokerProcess
from batuta.streams.model_store import ModelStore
from batuta.streams.pipelines.furnishing import furnish
from batuta.streams.pipelines.loading import load_file
from batuta.streams.registry.files import version_of
from batuta.streams.registry.follower import Follower
from batuta.streams.registry.following import Following
from batuta.streams.registry.live import Live, live_of
from batuta.streams.registry.registry import Registry
from batuta.streams.registry.stocking import stock
from batuta.streams.settings import load_settings
from batuta.streams.telemetry.model_facts import VersionRefused, VersionsAdopted

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Callable, Mapping
    from pathlib import Path

    from batuta.agents.models.port import AnyModel
    from batuta.schemas.model_version import ModelVersion
    from batuta.streams.settings import Settings
    from batuta.streams.telemetry.facts import Fact

NOW = datetime(2018, 4, 1, tzinfo=UTC)
FAR = 1_000_000
_numbers = itertools.count()


@dataclass
class Stage:
    """Who works with what is live: notes what it was given and told."""

    refuses: str = ""
    given: list[str] = field(default_factory=list[str])
    facts: list[Fact] = field(default_factory=list["Fact"])

    async def prepare(self, live: Live, models: Mapping[str, AnyModel]) -> Callable[[], None]:
        assert models.keys() <= live.cards.keys()
        if self.refuses:
            raise UsageError(self.refuses)
        return lambda: self.given.extend(model.version for model in models.values())

    def tell(self, fact: Fact) -> None:
        self.facts.append(fact)

    @property
    def refusals(self) -> list[str]:
        return [str(fact.error) for fact in self.facts if isinstance(fact, VersionRefused)]


@dataclass
class Yard:
    """The registry of one broker, and a pipeline of it."""

    settings: Settings
    folder: Path
    name: str

    @classmethod
    def found(cls, bootstrap: str, folder: Path) -> Yard:
        name, file = f"followed_{os.getpid()}_{next(_numbers)}", folder / "crates.yaml"
        file.write_text(file.read_text().replace("pipeline: crates", f"pipeline: {name}"))
        return cls(load_settings(bootstrap=bootstrap), folder, name)

    @property
    def registry(self) -> Registry:
        return Registry(self.settings)

    @property
    def store(self) -> ModelStore:
        return ModelStore(self.folder / "kept")

    async def register(self, *numbers: int) -> list[ModelVersion]:
        on_disk = load_file(self.folder / "crates.yaml")
        files = [self.folder / f"{number}.onnx" for number in numbers]
        found = [version_of(on_disk, "scales", file, self.store, NOW) for file in files]
        for version in found:
            await self.registry.register(version)
        return found

    async def promote(self, version: ModelVersion, instead_of: ModelVersion | None) -> int:
        """Promote a version; return the offset behind its pointer."""
        expected = None if instead_of is None else instead_of.version_id
        await self.registry.point(version, "production", NOW, expected)
        return (await self.registry.standing()).moved_at(self.name, ("scales",))

    @asynccontextmanager
    async def following(self, stage: Stage) -> AsyncGenerator[Following]:
        live = live_of(await self.registry.standing(), self.name, ("scales",))
        following = Following(self.name, live, self.store.load)
        following.attend(stage)
        follower = Follower(self.settings, (following,))
        follower.start()
        try:
            yield following
            assert follower.failure is None
        finally:
            await follower.stop()


@pytest.fixture
def yard(embedded_broker: str, folder: Path) -> Yard:
    """A pipeline of its own."""
    return Yard.found(embedded_broker, folder)


async def test_what_is_promoted_is_taken_up_and_what_a_lane_has_met_is_waited_for(
    yard: Yard,
) -> None:
    first, second = await yard.register(1, 2)
    began = await yard.promote(first, None)
    stage = Stage()
    async with yard.following(stage) as following:
        assert following.live.control_offset == began
        moved = await yard.promote(second, first)
        await following.reached(moved)
        assert (following.live.control_offset, stage.given) == (moved, [second.version_id])
        back = await yard.promote(first, second)
        await following.reached(back)
        assert stage.given == [second.version_id, first.version_id]
        await following.reached(FAR)  # another control took its place: nobody waits for ever
    told = [fact.control_offset for fact in stage.facts if isinstance(fact, VersionsAdopted)]
    assert told == [began, moved, back]


async def test_what_cannot_be_taken_up_is_refused_once_and_taken_up_when_it_can(
    yard: Yard,
) -> None:
    first, second = await yard.register(1, 2)
    await yard.promote(first, None)
    (file,) = (yard.folder / "kept" / yard.name).glob(f"*{second.sha256[:12]}.onnx")
    aside = file.rename(file.with_suffix(".aside"))
    stage = Stage()
    async with yard.following(stage) as following:
        moved = await yard.promote(second, first)
        for _ in range(2):
            await following.reached(FAR)
        assert [f"model file {file} cannot be read" in one for one in stage.refusals] == [True]
        assert following.live.cards["scales"].version == first.version_id
        file.write_bytes(b"another file")
        await following.reached(FAR)
        assert "has sha256" in stage.refusals[1]
        stage.refuses, _ = "it does not fit", aside.replace(file)
        await following.reached(FAR)
        assert stage.refusals[2:] == ["it does not fit"]
        assert following.refusing
        stage.refuses = ""
        await following.reached(FAR)
        assert (following.live.control_offset, stage.given) == (moved, [second.version_id])
        assert not following.refusing


async def test_a_version_that_sees_other_features_is_refused(yard: Yard) -> None:
    first, second = await yard.register(1, 2)
    await yard.promote(first, None)
    stage = Stage()
    seen = first.skill.model_copy(update={"inputs": ("size", "weight")})
    other = second.model_copy(update={"skill": seen, "version_id": f"scales@{'ab' * 6}"})
    await yard.registry.register(other)
    async with yard.following(stage) as following:
        await yard.promote(other, first)
        await following.reached(FAR)
    assert "sees size, weight, the pipeline of this worker shows scales weight" in stage.refusals[0]


async def test_a_control_record_of_a_later_release_is_told_and_passed_over(folder: Path) -> None:
    with BrokerProcess() as own:
        yard = Yard.found(own.bootstrap, folder)
        first, second = await yard.register(1, 2)
        await yard.promote(first, None)
        stage = Stage()
        async with yard.following(stage) as following:
            moved = Pointer(
                pipeline=yard.name,
                model="scales",
                stage="production",
                points_to=second.version_id,
                set_at=NOW,
            )
            written = encode_pointer(moved)
            producer = Producer({"bootstrap.servers": own.bootstrap})
            producer.produce(written.topic, b'{"version": 2}', b"model/crates/scales/shadow")
            producer.produce(written.topic, written.value, written.key)
            assert await asyncio.to_thread(producer.flush, 30) == 0
            del producer
            await following.reached(FAR)
            assert (stage.refusals, stage.given) == ([], [second.version_id])
        with pytest.raises(RefusedEventError, match=r"batuta\.control offset"):
            await yard.promote(first, second)


async def test_of_two_who_promote_at_once_one_is_refused_and_nothing_of_theirs_is_written(
    broker: str, folder: Path
) -> None:
    yard = Yard.found(broker, folder)
    first, second = await yard.register(1, 2)
    await yard.promote(first, None)
    again = replace(yard)
    for _ in range(3):
        standing = await yard.registry.standing()
        stands = standing.at(yard.name, "scales", "production")
        assert stands is not None
        ends = await asyncio.gather(
            *(one.promote(second, stands) for one in (yard, again)),
            return_exceptions=True,
        )
        moved = [end for end in ends if isinstance(end, int)]
        assert [type(end) for end in ends if not isinstance(end, int)] == [RegistryMovedError]
        after = (await yard.registry.standing()).moved_at(yard.name, ("scales",))
        assert moved == [after]
        first, second = second, first


async def test_who_decided_on_what_is_no_more_is_refused(yard: Yard) -> None:
    first, second = await yard.register(1, 2)
    await yard.promote(first, None)
    with pytest.raises(RegistryMovedError, match=f"{first.version_id} stands at production"):
        await yard.promote(second, None)


async def test_a_new_registry_is_stocked_with_what_is_here(yard: Yard) -> None:
    settings = yard.settings.model_copy(update={"model_dir": yard.folder / "kept"})
    on_disk = load_file(yard.folder / "crates.yaml")
    with pytest.raises(UsageError, match="was trained here; name a file, or batuta train"):
        await stock(on_disk, settings)
    _, second = await yard.register(1, 2)
    await stock(on_disk, settings)
    house = await asyncio.to_thread(furnish, on_disk, settings)
    assert house.following is not None
    assert house.following.live.cards["scales"].version == second.version_id
