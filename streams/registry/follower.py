"""The follower: reads `batuta.control` and `batuta.versions` whole while a worker runs."""

import asyncio
from collections.abc import Sequence
from typing import Final

import structlog
from aiokafka.errors import KafkaError

from batuta.schemas.errors import LaterError, RefusedEventError
from batuta.schemas.record import Record
from batuta.schemas.topics import CONTROL, VERSIONS
from batuta.streams.registry.following import Following
from batuta.streams.registry.registry import take
from batuta.streams.registry.standing import Standing
from batuta.streams.settings import Settings, client_options
from batuta.streams.topic_reader import TopicReader

__all__ = ["Follower"]

#: How long it waits before it tries again what it could not take up.
_AGAIN_S: Final = 5.0
_log = structlog.get_logger(__name__)


class Follower:
    """Tells pipelines what control says.

    Args:
        settings: where the brokers are.
        followings: of the pipelines whose models follow the registry; where there are none,
            nothing is read.
    """

    def __init__(self, settings: Settings, followings: Sequence[Following]) -> None:
        self._settings = settings
        self.followings = followings
        self._asked: list[asyncio.Future[None]] = []
        self._task: asyncio.Task[None] | None = None
        for following in followings:
            following.read_by(self.read_on)

    @property
    def failure(self) -> Exception | None:
        """What ended it: trouble of our own."""
        task = self._task
        if task is None or not task.done() or task.cancelled():
            return None
        error = task.exception()
        return error if isinstance(error, Exception) else None

    def start(self) -> None:
        """Begin to read, where anybody wants to know."""
        if any(following.attended for following in self.followings):
            self._task = asyncio.create_task(self._follow())

    async def stop(self) -> None:
        """Read no more; whoever waits goes on with what is known."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)
        _release(self._asked)

    async def read_on(self) -> None:
        """Return once control was read to where it ends now, and what it says was considered."""
        asked = asyncio.get_running_loop().create_future()
        self._asked.append(asked)
        await asked

    async def _follow(self) -> None:
        while True:
            try:
                await self._read()
            except (LaterError, KafkaError, OSError) as error:
                _log.warning("control_unreachable", error=str(error), retry_in_s=_AGAIN_S)
            await asyncio.sleep(_AGAIN_S)

    async def _read(self) -> None:
        standing, loop = Standing(), asyncio.get_running_loop()
        async with TopicReader(client_options(self._settings), [CONTROL, VERSIONS]) as reader:
            news, again_s = True, 0.0
            while True:
                asked, self._asked = self._asked, []
                try:
                    if news or asked:
                        # A pointer may be here before the version that it names.
                        async for records in reader.until_end():
                            _hear(standing, records)
                    if news or asked or loop.time() >= again_s:
                        await self._consider(standing)
                        again_s = loop.time() + _AGAIN_S
                finally:
                    _release(asked)
                records = await reader.poll()
                _hear(standing, records)
                news = bool(records)

    async def _consider(self, standing: Standing) -> None:
        for following in self.followings:
            if following.attended:
                await following.consider(standing)


def _release(asked: Sequence["asyncio.Future[None]"]) -> None:
    for one in asked:
        if not one.done():
            one.set_result(None)


def _hear(standing: Standing, records: Sequence[Record]) -> None:
    for record in records:
        try:
            take(standing, record)
        except RefusedEventError as error:
            # What it says is for a later release: nobody here can do it, and a human must know.
            _log.error("control_unreadable", error=str(error))
