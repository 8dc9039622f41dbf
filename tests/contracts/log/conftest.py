"""The clusters that the log is bound to: two brokers by aiokafka, and the broker in process."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol, TypeVar

import pytest
from aiokafka.errors import KafkaConnectionError

from batuta.streams.app import clock_ms
from batuta.streams.broker.api import APIS
from batuta.streams.broker.broker import Broker
from batuta.streams.broker.clock import LoopClock
from batuta.streams.broker.messages_cluster import (
    CreateTopicsRequest,
    CreateTopicsResponse,
    NewTopic,
    NewTopicConfig,
)
from batuta.streams.broker.raw_client import RawClient
from batuta.streams.broker.testing import TopicFactory
from batuta.streams.lanes.kafka_log import KafkaLog
from batuta.streams.lanes.lane_testing import lane_settings
from batuta.streams.lanes.log_testing import Seat
from batuta.streams.lanes.lossy_proxy import LossyProxy
from batuta.streams.rehearsal.in_process_log import InProcessLog
from batuta.streams.rehearsal.wire import BrokerWire, deliver

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable, Mapping

    from batuta.streams.lanes.log import Log

R = TypeVar("R")
_API_OF = {api.request: api.key for api in APIS.values()}


class Cluster(Protocol):
    """One Kafka cluster, and two ways to it: a good one, and one that loses things."""

    def log(self, *, lossy: bool = False, **settings: object) -> Log:
        """What one worker has."""
        ...

    async def ask(self, request: object, answer: type[R], version: int) -> R:
        """Ask the broker itself."""
        ...

    async def create(
        self, name: str, partitions: int = 1, configs: Mapping[str, str] | None = None
    ) -> str:
        """Create a topic under a unique name."""
        ...

    def lose_answers(self, api: int) -> None:
        """Lose what is answered to an API on the lossy way, from now on."""
        ...

    def lose_requests(self, api: int) -> None:
        """Lose what is asked of an API on the lossy way, from now on."""
        ...

    def heal(self) -> None:
        """Lose nothing more."""
        ...

    @property
    def lost(self) -> int:
        """How many answers and requests were lost."""
        ...


class KafkaCluster:
    """A broker behind sockets, and a proxy before it."""

    def __init__(self, bootstrap: str, proxy: LossyProxy) -> None:
        self._bootstrap, self._proxy = bootstrap, proxy

    def log(self, *, lossy: bool = False, **settings: object) -> Log:
        bootstrap = self._proxy.bootstrap if lossy else self._bootstrap
        return KafkaLog(lane_settings(bootstrap, **settings))

    async def ask(self, request: object, answer: type[R], version: int) -> R:
        return await RawClient(self._bootstrap).ask(request, answer, version)

    async def create(
        self, name: str, partitions: int = 1, configs: Mapping[str, str] | None = None
    ) -> str:
        return await TopicFactory(self._bootstrap).create(name, partitions, configs)

    def lose_answers(self, api: int) -> None:
        self._proxy.losing = api

    def lose_requests(self, api: int) -> None:
        self._proxy.withholding = api

    def heal(self) -> None:
        self._proxy.heal()

    @property
    def lost(self) -> int:
        return self._proxy.lost


class InProcessCluster:
    """A broker in this process, and a wire that loses things."""

    def __init__(self) -> None:
        self._broker = Broker(LoopClock())
        self._wire = BrokerWire(self._broker)
        self._losing: int | None = None
        self._withholding: int | None = None
        self._workers = 0
        self.lost = 0

    def log(self, *, lossy: bool = False, **settings: object) -> Log:
        self._workers += 1
        wire = self if lossy else self._wire
        given = lane_settings("127.0.0.1:1", **settings)
        return InProcessLog(wire, given, f"worker-{self._workers}", clock_ms)

    async def call(self, client: str, request: object) -> object:
        """Carry a request on the lossy way."""
        api = _API_OF[type(request)]
        if api == self._withholding:
            self.lost += 1
            raise KafkaConnectionError("the request was lost")
        answer = await self._wire.call(client, request)
        if api == self._losing:
            self.lost += 1
            raise KafkaConnectionError("the answer was lost")
        return answer

    async def ask(self, request: object, answer: type[R], version: int) -> R:
        del version
        found = deliver(self._broker, "test", request)
        assert isinstance(found, answer)
        return found

    async def create(
        self, name: str, partitions: int = 1, configs: Mapping[str, str] | None = None
    ) -> str:
        unique = TopicFactory.unique(name)
        given = tuple(NewTopicConfig(*pair) for pair in (configs or {}).items())
        request = CreateTopicsRequest((NewTopic(unique, partitions, 1, (), given),), 5_000, False)
        created = await self.ask(request, CreateTopicsResponse, 5)
        assert not created.topics[0].error_code
        return unique

    def lose_answers(self, api: int) -> None:
        self._losing = api

    def lose_requests(self, api: int) -> None:
        self._withholding = api

    def heal(self) -> None:
        self._losing = self._withholding = None


@pytest.fixture(
    params=[
        "embedded",
        pytest.param("apache", marks=pytest.mark.apache_kafka),
        "in-process",
    ]
)
async def cluster(request: pytest.FixtureRequest) -> AsyncIterator[Cluster]:
    """Each cluster in turn: a test runs once against all three."""
    if request.param == "in-process":
        yield InProcessCluster()
        return
    name = {"embedded": "embedded_broker", "apache": "apache_kafka"}[str(request.param)]
    bootstrap = str(request.getfixturevalue(name))
    proxy = LossyProxy(bootstrap)
    await proxy.start()
    yield KafkaCluster(bootstrap, proxy)
    await proxy.stop()


@pytest.fixture
async def sit(cluster: Cluster) -> AsyncIterator[Callable[..., Awaitable[Seat]]]:
    """Starts members, and stops those that a test left."""
    seats: list[Seat] = []

    async def start(
        group: str,
        *topics: str,
        log: Log | None = None,
        instance_id: str | None = None,
    ) -> Seat:
        seat = Seat(cluster.log() if log is None else log, group, instance_id)
        seats.append(seat)
        await seat.member.start(topics, seat)
        return seat

    yield start
    cluster.heal()
    for seat in seats:
        await seat.member.stop()
