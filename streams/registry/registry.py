"""The registry over its topics: reads them whole, writes versions once and pointers anew.

Of two who promote at once one is refused: nothing is written on top of what its writer has not
seen (`sole_writer`).
"""

from dataclasses import dataclass
from typing import Final

from batuta.schemas.control_codec import (
    decode_model_version,
    decode_pointer,
    encode_model_version,
    encode_pointer,
)
from batuta.schemas.errors import RegistryMovedError, UsageError
from batuta.schemas.model_version import ModelVersion, Pointer, Stage
from batuta.schemas.record import Record
from batuta.schemas.times import EventTime
from batuta.schemas.topics import CONTROL, VERSIONS
from batuta.streams.registry.sole_writer import sole_writer, write_alone
from batuta.streams.registry.standing import Standing
from batuta.streams.settings import Settings, client_options
from batuta.streams.topic_admin import declare_shared
from batuta.streams.topic_reader import TopicReader

__all__ = ["Pointed", "Registry", "take"]

_TRANSACTIONAL_ID: Final = "batuta-registry"
_AGAIN: Final = "look at batuta models list, then decide again"


@dataclass(frozen=True, slots=True)
class Pointed:
    """What became of a pointer.

    Attributes:
        changed: whether it moved.
        before: the version that stood there; None where none did.
    """

    changed: bool
    before: ModelVersion | None


class Registry:
    """The versions of models that one Kafka knows."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._options = client_options(settings)

    async def standing(self) -> Standing:
        """Read the registry whole.

        Raises:
            BrokerUnreachableError: no broker answers.
            RefusedEventError: a record is none that this release can read.
        """
        await declare_shared(self._settings)
        return await self._read()

    async def _read(self) -> Standing:
        standing = Standing()
        async with TopicReader(self._options, [CONTROL, VERSIONS]) as reader:
            async for records in reader.until_end():
                for record in records:
                    take(standing, record)
        return standing

    async def register(self, version: ModelVersion) -> bool:
        """Write a version, once.

        Returns:
            Whether it is new.

        Raises:
            UsageError: another file has the id.
            RegistryMovedError: somebody else writes at the same time.
        """
        async with sole_writer(self._settings, _TRANSACTIONAL_ID) as producer:
            for known in (await self._read()).versions(version.pipeline):
                if known.version_id == version.version_id:
                    if known.sha256 != version.sha256:
                        raise UsageError(
                            f"{version.version_id} is taken by the file {known.sha256}; "
                            "give the model another name"
                        )
                    return False
            await write_alone(producer, [encode_model_version(version)], _AGAIN)
        return True

    async def point(
        self, version: ModelVersion, stage: Stage, now: EventTime, expected: str | None
    ) -> Pointed:
        """Let a version stand at a stage, in place of the one that does.

        Args:
            version: which.
            stage: where.
            now: when.
            expected: the version that is to stand there so far, None for none.

        Raises:
            UsageError: it is archived, or is to be while it is live.
            RegistryMovedError: another version stands there, or somebody else writes just now.
        """
        async with sole_writer(self._settings, _TRANSACTIONAL_ID) as producer:
            standing = await self._read()
            before = standing.at(version.pipeline, version.model, stage)
            stages = standing.stages(version)
            if stage in stages:
                return Pointed(changed=False, before=before)
            _check(version, stage, stages)
            found = None if before is None else before.version_id
            if stage != "archived" and found != expected:
                raise RegistryMovedError(
                    f"{found or 'no version'} stands at {stage} of {version.model}, expected "
                    f"{expected or 'none'}: somebody moved it meanwhile; {_AGAIN}"
                )
            pointer = Pointer(
                pipeline=version.pipeline,
                model=version.model,
                stage=stage,
                points_to=version.version_id,
                set_at=now,
            )
            await write_alone(producer, [encode_pointer(pointer)], _AGAIN)
        return Pointed(changed=True, before=before)


def take(standing: Standing, record: Record) -> None:
    """Take one record of the registry's topics in.

    Raises:
        RefusedEventError: it is none that this release can read.
    """
    if record.topic == VERSIONS:
        standing.add(decode_model_version(record))
    elif (pointer := decode_pointer(record)) is not None:
        standing.point(pointer, record.offset)


def _check(version: ModelVersion, stage: Stage, stages: tuple[Stage, ...]) -> None:
    if stage == "archived" and stages:
        what = f"stands at {' and '.join(stages)}"
        raise UsageError(f"{version.version_id} {what}; promote another version there first")
    if "archived" in stages:
        what = "is archived; register the file under another name to use it again"
        raise UsageError(f"{version.version_id} {what}")
