"""The worker: from settings to running stages, and back down without losing anything."""

import asyncio
import gc
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Final

import numpy as np
import structlog
from aiokafka.errors import KafkaError
from prometheus_client import CollectorRegistry

from batuta.agents.pipelines import LoadedPipeline
from batuta.agents.understanding.placing import partitions_of
from batuta.agents.understanding.share_sets import ShareSet
from batuta.agents.understanding.window_sets import WindowSet
from batuta.schemas.errors import BrokerUnreachableError, LaterError, OursError, UsageError
from batuta.schemas.pipeline import Pipeline
from batuta.streams.adapters.closing import close_model
from batuta.streams.app import LaneApp
from batuta.streams.house import House
from batuta.streams.registry.follower import Follower
from batuta.streams.settings import Settings
from batuta.streams.sinks import open_sinks
from batuta.streams.stages import ROUTE
from batuta.streams.telemetry.broker_probe import BrokerProbe
from batuta.streams.telemetry.metrics_server import MetricsServer
from batuta.streams.topic_admin import declare_shared, declare_topics

__all__ = ["STAGE_NAMES", "Worker", "calm_the_collector", "stages_to_run"]

STAGE_NAMES: Final = tuple(stage.__name__ for stage in ROUTE)
_POLL_S: Final = 0.05
_log = structlog.get_logger(__name__)


def stages_to_run(
    given: Sequence[str] | None, pipelines: Sequence[LoadedPipeline]
) -> tuple[str, ...]:
    """Return the stages to run, in the order of the route.

    Args:
        given: their names; None for all.
        pipelines: whose they are; each needs not have all of them.

    Raises:
        UsageError: none of the pipelines has a stage of this name.
    """
    known = tuple(name for name in STAGE_NAMES if any(name in one.stages for one in pipelines))
    unknown = [name for name in given or () if name not in known]
    if unknown:
        names = ", ".join(one.pipeline.name for one in pipelines)
        expected = ",".join(known)
        raise UsageError(
            f"--stages names {unknown[0]!r}, no stage of {names}: expected some of {expected}"
        )
    return tuple(name for name in known if given is None or name in given)


class Worker:
    """Some stages of one pipeline, or of several, in this process.

    Each pipeline has its own topics, groups and lanes; one that fails does not stop the others.

    Args:
        settings: where the broker is, and every limit.
        houses: the pipelines, with what their stages are built from.
        stages: their names, by default all that the pipelines have.
        registry: where metrics go, by default one of its own.
    """

    def __init__(
        self,
        settings: Settings,
        *houses: House,
        stages: Sequence[str] | None = None,
        registry: CollectorRegistry | None = None,
    ) -> None:
        names = [house.shipped.pipeline.name for house in houses]
        if twice := [name for name in names if names.count(name) > 1]:
            raise UsageError(f"the pipeline {twice[0]} is named twice; name each once")
        assert houses, "a worker of nothing"
        self._settings = settings
        self._houses = houses
        self._stages = stages_to_run(stages, [house.shipped for house in houses])
        self.registry = registry or CollectorRegistry()
        self._app: LaneApp | None = None
        self._stopped = False
        self._given_up: set[str] = set()
        self._sinks = open_sinks(settings)
        followings = [house.following for house in houses if house.following is not None]
        self._follower = Follower(settings, followings)
        self._probe = BrokerProbe(settings, self.registry)
        self._server = MetricsServer(settings, self.registry, self._not_ready)

    @property
    def ready(self) -> bool:
        """Whether every stage has joined its group and every lane given is at work."""
        return not self._not_ready()

    @property
    def metrics_url(self) -> str:
        """Where Prometheus finds this worker."""
        return self._server.url

    @property
    def failure(self) -> Exception | None:
        """What stopped a lane for good: trouble of our own."""
        failed = next(iter(self._failures().values()), None)
        return failed or self._follower.failure

    def _failures(self) -> dict[str, Exception]:
        """Return what stopped lanes for good, one failure of each pipeline that has any."""
        sources = self._app.sources if self._app is not None else []
        return {one.stage.pipeline: one.failure for one in sources if one.failure is not None}

    async def start(self) -> None:
        """Declare the topics, start the stages, serve the metrics.

        Raises:
            BrokerUnreachableError: no broker within `connect_timeout_ms`, where that is given.
            TopicMismatchError: topics are missing or shaped otherwise than declared.
        """
        await self._server.start()
        await self._probe.start()
        topics = await self._declared()
        for house in self._houses:
            await asyncio.to_thread(_compile, house.shipped.pipeline)
        app = self._app = LaneApp(self._settings, topics, self.registry)
        for house in self._houses:
            with_sinks = replace(house, sinks=(*self._sinks, *house.sinks))
            for stage in ROUTE:
                if stage.__name__ in self._stages:
                    stage(app, with_sinks)
        app.finalize()
        await app.start()
        app.flow_control.resume()
        self._follower.start()
        for source in app.sources:
            await app.add_runtime_dependency(source)
        calm_the_collector()

    async def _declared(self) -> dict[str, int]:
        """Find the broker and declare the topics; says once that it is looking."""
        timeout_ms = self._settings.connect_timeout_ms
        brokers = self._settings.brokers
        try:
            async with asyncio.timeout(None if timeout_ms is None else timeout_ms / 1000):
                return await self._declared_at_last()
        except TimeoutError:
            raise BrokerUnreachableError(
                f"no Kafka broker answered at {brokers} within {timeout_ms} ms"
            ) from None

    async def _declared_at_last(self) -> dict[str, int]:
        backoff_ms = self._settings.retry_backoff_ms
        while True:
            try:
                return await self._declare()
            except (KafkaError, LaterError, OSError) as error:
                _log.warning(
                    "broker_unreachable",
                    bootstrap=self._settings.brokers,
                    error=str(error),
                    retry_in_ms=backoff_ms,
                )
            await asyncio.sleep(backoff_ms / 1000)
            backoff_ms = min(2 * backoff_ms, self._settings.retry_backoff_ms_max)

    async def _declare(self) -> dict[str, int]:
        if self._follower.followings:
            await declare_shared(self._settings)
        topics: dict[str, int] = {}
        for house in self._houses:
            topics |= await declare_topics(self._settings, house.topics)
        return topics

    async def wait_ready(self) -> None:
        """Return once `ready`.

        Raises:
            OursError: a lane stopped for good meanwhile.
        """
        while not self.ready:
            if self.failure is not None:
                raise OursError("a lane stopped") from self.failure
            await asyncio.sleep(_POLL_S)

    async def run_until_stopped(self) -> None:
        """Return once `stop` was called.

        Raises:
            UsageError: how workers or topics are set up does not let it go on.
            OursError: a lane of every pipeline stopped for good meanwhile.
        """
        while not self._stopped:
            await self._give_up_failed()
            await asyncio.sleep(_POLL_S)

    async def _give_up_failed(self) -> None:
        """Let go of pipelines with a lane that stopped; with the last one the worker ends."""
        failures = self._failures()
        for failure in (*failures.values(), self._follower.failure):
            if isinstance(failure, UsageError):
                raise failure
        if self._follower.failure is not None:
            raise OursError("control is followed no more") from self._follower.failure
        if len(failures) == len(self._houses):
            raise OursError("a lane stopped") from next(iter(failures.values()))
        for pipeline in failures.keys() - self._given_up:
            self._given_up.add(pipeline)
            _log.error("pipeline_given_up", pipeline=pipeline, error=str(failures[pipeline]))
            await self._end(pipeline)

    async def _end(self, pipeline: str | None = None) -> None:
        """Drain the lanes of a pipeline, or all, within `drain_timeout_ms`; leave the groups."""
        assert self._app is not None, "what has not begun does not end"
        sources = [one for one in self._app.sources if pipeline in {None, one.stage.pipeline}]
        if sources:
            timeout_s = self._settings.drain_timeout_ms / 1000
            drains = [asyncio.ensure_future(source.drain()) for source in sources]
            await asyncio.wait(drains, timeout=timeout_s)
        for source in sources:
            await source.stop()

    async def stop(self) -> None:
        """Drain within `drain_timeout_ms`, leave the groups, close everything."""
        self._stopped = True
        if self._app is not None:
            await self._end()
            await self._app.stop()
        await self._follower.stop()
        for sink in (*self._sinks, *(sink for house in self._houses for sink in house.sinks)):
            await sink.close()
        for house in self._houses:
            models = house.models
            for model in models.values() if isinstance(models, Mapping) else (models,):
                await close_model(model)
        await self._probe.stop()
        await self._server.stop()

    def _not_ready(self) -> list[str]:
        """Say what is not ready yet, one sentence each."""
        if self._app is None:
            return ["looking for the broker"]
        if self._probe.trouble is not None:
            return [self._probe.trouble]
        return [
            f"{source.stage.group}: {source.failure or 'lanes are starting'}"
            for source in self._app.sources
            if not source.ready
        ] + ([] if self._app.sources else ["no stage runs"])


def _compile(pipeline: Pipeline) -> None:
    """Compile what compiles at first use: it takes seconds, and a group waits for heartbeats."""
    for spec in (pipeline.ingestion_windows, pipeline.scoring_windows):
        observed, loaded = WindowSet(spec), WindowSet(spec)
        for table in observed.tables:
            table.begin()
        payload = dict.fromkeys((one.mean_of or "" for one in spec), 1.0)
        observed.observe(["key"], np.zeros(1, np.int64), [payload])
        for table, other in zip(observed.tables, loaded.tables, strict=True):
            for key, value in table.changes(0):
                other.load(key, value)
            table.rollback()
    partitions_of([b"key"], 1)
    for share in ShareSet(pipeline.shares).tables:
        share.begin()
        share.take(["key"], np.zeros(1, np.int64), np.zeros(1, np.int64))
        share.rollback()


def calm_the_collector() -> None:
    """Keep the cyclic collector away from what lives for ever, and from every queued record."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(50_000, 20, 50)
