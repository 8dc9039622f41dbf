"""The registry over its topics: reads them whole, writes versions once and pointers anew."""

from batuta.schemas.control_codec import (
    decode_model_version,
    decode_pointer,
    encode_model_version,
    encode_pointer,
)
from batuta.schemas.errors import UsageError
from batuta.schemas.model_version import ModelVersion, Pointer, Stage
from batuta.schemas.record import Output
from batuta.schemas.times import EventTime
from batuta.schemas.topics import CONTROL, VERSIONS
from batuta.streams.publisher import Publisher, Timed
from batuta.streams.registry.standing import Standing
from batuta.streams.settings import Settings, client_options
from batuta.streams.topic_admin import declare_shared
from batuta.streams.topic_reader import TopicReader

__all__ = ["Registry"]


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
        standing = Standing()
        async with TopicReader(self._options, [CONTROL, VERSIONS]) as reader:
            async for records in reader.until_end():
                for record in records:
                    if record.topic == VERSIONS:
                        standing.add(decode_model_version(record))
                    elif (pointer := decode_pointer(record)) is not None:
                        standing.point(pointer, record.offset)
        return standing

    async def register(self, version: ModelVersion) -> bool:
        """Write a version, once.

        Returns:
            Whether it is new.

        Raises:
            UsageError: another file has the id.
        """
        for known in (await self.standing()).versions(version.pipeline):
            if known.version_id == version.version_id:
                if known.sha256 != version.sha256:
                    raise UsageError(
                        f"{version.version_id} is taken by the file {known.sha256}; "
                        "give the model another name"
                    )
                return False
        await self._publish(encode_model_version(version), version.registered_at)
        return True

    async def point(self, version: ModelVersion, stage: Stage, now: EventTime) -> bool:
        """Let a version stand at a stage, in place of the one that does.

        Returns:
            Whether anything changed.

        Raises:
            UsageError: it is archived, or is to be while it is live.
        """
        standing = await self.standing()
        stages = standing.stages(version)
        if stage in stages:
            return False
        if stage == "archived" and stages:
            what = f"stands at {' and '.join(stages)}"
            raise UsageError(f"{version.version_id} {what}; promote another version there first")
        if "archived" in stages:
            what = "is archived; register the file under another name to use it again"
            raise UsageError(f"{version.version_id} {what}")
        pointer = Pointer(
            pipeline=version.pipeline,
            model=version.model,
            stage=stage,
            points_to=version.version_id,
            set_at=now,
        )
        await self._publish(encode_pointer(pointer), now)
        return True

    async def _publish(self, output: Output, now: EventTime) -> None:
        async with Publisher(self._options, output.topic) as publisher:
            await publisher.publish([Timed(int(now.timestamp() * 1000), output)])
            await publisher.flush()
