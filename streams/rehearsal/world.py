"""The world of one seed: broker, network, workers, users, and what befalls them."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, Final

from batuta.streams.broker.messages_cluster import CreateTopicsRequest, NewTopic, NewTopicConfig
from batuta.streams.lanes.log import Log
from batuta.streams.lanes.memory import LaneMemory
from batuta.streams.lanes.stage import AnyStage
from batuta.streams.rehearsal.broker_house import BrokerHouse
from batuta.streams.rehearsal.happenings import Happenings
from batuta.streams.rehearsal.in_process_log import InProcessLog
from batuta.streams.rehearsal.network import Network
from batuta.streams.rehearsal.outside_world import Unreliable
from batuta.streams.rehearsal.plan import Plan
from batuta.streams.rehearsal.play import MakePlay, Play
from batuta.streams.rehearsal.recording import Recording
from batuta.streams.rehearsal.stand_in_app import StandInApp, Surroundings
from batuta.streams.rehearsal.trace import Trace
from batuta.streams.rehearsal.virtual_loop import Process, VirtualLoop
from batuta.streams.rehearsal.wire import Wire
from batuta.streams.settings import Settings

__all__ = ["Cast", "Worker", "World", "rehearsed_settings"]

LogFactory = Callable[[Wire, Settings, str, Callable[[], int]], Log]
HouseFactory = Callable[[VirtualLoop, Plan, Happenings], BrokerHouse]

#: Shorter than the defaults, in the same proportions, so that a dead worker's lanes move on soon;
#: long polls instead of many, for nothing is gained from idle ones.
_SETTINGS: Final[dict[str, Any]] = {
    "bootstrap": "rehearsal:9092",
    "session_timeout_ms": 3_000,
    "heartbeat_interval_ms": 900,
    "rebalance_timeout_ms": 6_000,
    "request_timeout_ms": 8_000,
    "transaction_timeout_ms": 5_000,
    "poll_timeout_ms": 1_000,
    "fetch_wait_ms_max": 1_000,
    "retry_backoff_ms_max": 1_000,
    "drain_timeout_ms": 5_000,
}


def _house(loop: VirtualLoop, plan: Plan, happenings: Happenings) -> BrokerHouse:
    return BrokerHouse(loop, plan.chance("names"), happenings)


@dataclass(frozen=True)
class Cast:
    """Who plays: the real parts, or ones with a fault in them that the rehearsal should find."""

    plays: tuple[MakePlay, ...]
    make_app: Callable[[Surroundings], StandInApp] = StandInApp
    make_log: LogFactory = InProcessLog
    make_house: HouseFactory = _house


def rehearsed_settings(plan: Plan) -> Settings:
    """Return the settings of a plan's workers, whatever the environment says."""
    return Settings.model_construct(None, **{**_SETTINGS, **plan.settings})


@dataclass
class Worker:
    """One worker, from its start to its end.

    Attributes:
        skew_ms: how far its wall clock is off.
    """

    process: Process
    app: StandInApp
    skew_ms: int = 0

    @property
    def name(self) -> str:
        """Its process's name."""
        return self.process.name


class World:
    """Everything there is while one seed runs.

    Attributes:
        workers: those that live, oldest first.
        former: those that were killed, and those that left.
    """

    def __init__(self, loop: VirtualLoop, plan: Plan, cast: Cast, *, keep_trace: bool) -> None:
        self.loop = loop
        self.plan = plan
        self.cast = cast
        self.happenings = Happenings(Trace(loop.time, keep=keep_trace))
        self.house = cast.make_house(loop, plan, self.happenings)
        self.network = Network(self.house, plan.chance("network"), self.happenings)
        unreliable = Unreliable(self.network, plan.chance("outside"), self.happenings)
        self.plays: tuple[Play, ...] = tuple(make(unreliable) for make in cast.plays)
        self.topics = {
            spec.name: spec for play in self.plays for spec in play.topics(plan.partitions)
        }
        self.settings = rehearsed_settings(plan)
        self.recording = Recording(loop.time)
        self.workers: list[Worker] = []
        self.former: list[Worker] = []
        self._started = 0

    def declare_topics(self) -> None:
        """Create the pipeline's topics."""
        topics = tuple(
            NewTopic(
                spec.name,
                spec.partitions,
                1,
                (),
                tuple(NewTopicConfig(name, value) for name, value in spec.configs.items()),
            )
            for spec in self.topics.values()
        )
        self.house.deliver("admin", CreateTopicsRequest(topics, 5_000, False), lambda _: None)

    # Workers

    def start_worker(self) -> Worker:
        """Start one more worker, in a process of its own."""
        process = Process(f"worker-{self._started}", self.loop)
        self._started += 1
        made: list[Worker] = []

        def clock() -> int:
            return self.house.wall_ms() + made[0].skew_ms

        async def main() -> None:
            await made[0].app.start()

        worker = Worker(process, self.app(process.name, clock, self.cast.make_app))
        made.append(worker)
        self.workers.append(worker)
        self.happenings.trace.note(process.name, "starts")
        process.spawn(main())
        return worker

    def app(
        self,
        name: str,
        clock: Callable[[], int],
        make_app: Callable[[Surroundings], StandInApp] = StandInApp,
    ) -> StandInApp:
        """Return an app with every stage, not yet started."""
        surroundings = Surroundings(
            settings=self.settings,
            topics={name: spec.partitions for name, spec in self.topics.items()},
            log=self.cast.make_log(self.network, self.settings, name, clock),
            clock=clock,
            saw=lambda stage, batch: self.recording.saw(name, stage, batch),
            died=self._agent_died,
        )
        app = make_app(surroundings)
        for play in self.plays:
            play.build(app.as_lane_app)
        return app

    def kill_worker(self, worker: Worker) -> None:
        """End a worker as kill -9 does."""
        worker.process.kill()
        self._part_from(worker)

    def stop_worker(self, worker: Worker) -> None:
        """Let a worker drain and leave, as on SIGTERM."""
        self._part_from(worker)

        async def leave() -> None:
            await worker.app.stop()

        worker.process.spawn(leave())

    def everybody(self) -> list[Worker]:
        """Return every worker there ever was."""
        return [*self.former, *self.workers]

    # Looking on

    def unread(self) -> dict[str, int]:
        """Return how much of each input a group has not committed yet, where there is any."""
        if self.house.broker is None:
            return {"broker": 1}
        left: dict[str, int] = {}
        sources = [source for worker in self.workers for source in worker.app.sources]
        if unready := sum(not source.ready for source in sources):
            left["sources that are not ready"] = unready
        memories = [memory for _, _, memory in self.memories()]
        if parked := sum(memory.parked.entries() for memory in memories):
            left["steps that are parked"] = parked
        # One that failed shows in no offset, and may have taken parked steps out of the state.
        if under_way := sum(memory.is_open for memory in memories):
            left["lanes with a batch under way"] = under_way
        for source in self.workers[0].app.sources:
            stage = source.stage
            for topic in stage.inputs:
                behind = self.house.behind(stage.group, topic)
                if behind:
                    left[f"{stage.group} of {topic}"] = behind
        return left

    def memories(self) -> Iterator[tuple[AnyStage, int, LaneMemory]]:
        """Yield what the lanes remember that are at work, each with its stage and partition."""
        for worker in self.workers:
            for source in worker.app.sources:
                for partition, memory in source.memories().items():
                    yield source.stage, partition, memory

    def troubles(self) -> str:
        """Say what holds the workers up."""
        return "; ".join(
            f"{worker.name} {source.stage.group}: {source.failure or source.ready}"
            for worker in self.workers
            for source in worker.app.sources
            if not source.ready
        )

    def _part_from(self, worker: Worker) -> None:
        self.workers.remove(worker)
        self.former.append(worker)

    def _agent_died(self, name: str, error: BaseException) -> None:
        self.happenings.violated("agents live", f"the agent of {name} died of {error!r}")
