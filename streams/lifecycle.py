"""The worker: from settings to running stages, and back down without losing anything."""

import asyncio
import gc
from collections.abc import Iterable, Mapping, Sequence
from typing import Final

import numpy as np
import structlog
from aiokafka.errors import KafkaError
from prometheus_client import CollectorRegistry

from batuta.agents.models.port import AnyModel
from batuta.agents.pipelines import Shipped
from batuta.agents.understanding.placing import partitions_of
from batuta.agents.understanding.share_sets import ShareSet
from batuta.agents.understanding.window_sets import WindowSet
from batuta.schemas.errors import BrokerUnreachableError, LaterError, OursError, UsageError
from batuta.schemas.pipeline import Pipeline
from batuta.schemas.topics import Topics
from batuta.streams.adapters.closing import close_model
from batuta.streams.app import LaneApp
from batuta.streams.house import House
from batuta.streams.settings import Settings
from batuta.streams.sinks import open_sinks
from batuta.streams.sinks.port import Sink
from batuta.streams.stages import ROUTE
from batuta.streams.telemetry.broker_probe import BrokerProbe
from batuta.streams.telemetry.metrics_server import MetricsServer
from batuta.streams.topic_admin import declare_topics

__all__ = ["STAGE_NAMES", "Worker"]

STAGE_NAMES: Final = tuple(stage.__name__ for stage in ROUTE)
_POLL_S: Final = 0.05
_log = structlog.get_logger(__name__)


class Worker:
    """Some stages of one pipeline in this process.

    Args:
        settings: where the broker is, and every limit.
        shipped: the pipeline.
        models: what its plans ask, by name; or the one that answers whatever they say.
        stages: names from `STAGE_NAMES`, by default all.
        registry: where metrics go, by default one of its own.
    """

    def __init__(
        self,
        settings: Settings,
        shipped: Shipped,
        models: AnyModel | Mapping[str, AnyModel],
        *,
        stages: Sequence[str] = STAGE_NAMES,
        registry: CollectorRegistry | None = None,
    ) -> None:
        unknown = sorted(set(stages) - set(STAGE_NAMES))
        if unknown:
            known = ", ".join(STAGE_NAMES)
            raise UsageError(f"--stages names {unknown[0]!r}: expected some of {known}")
        self._settings = settings
        self._shipped = shipped
        self._models = models
        self._aligned = False
        self._stages = tuple(name for name in STAGE_NAMES if name in stages)
        self.registry = registry or CollectorRegistry()
        self._app: LaneApp | None = None
        self._stopped = False
        self._sinks = open_sinks(settings)
        self._probe = BrokerProbe(settings, self.registry)
        self._server = MetricsServer(settings, self.registry, self._not_ready)

    def deliver_to(self, sinks: Iterable[Sink]) -> None:
        """Send notifications to these as well; they are closed when the worker stops."""
        assert self._app is None, "sinks are added before the start"
        self._sinks += sinks

    def align(self) -> None:
        """Take events and labels in the order of their time, as in a replay.

        Whoever publishes tells watermarks, on the topics of events and of feedback.
        """
        assert self._app is None, "how inputs are taken is settled before the start"
        self._aligned = True

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
        sources = self._app.sources if self._app is not None else []
        return next((source.failure for source in sources if source.failure), None)

    async def start(self) -> None:
        """Declare the topics, start the stages, serve the metrics.

        Raises:
            BrokerUnreachableError: no broker within `connect_timeout_ms`, where that is given.
            TopicMismatchError: topics are missing or shaped otherwise than declared.
        """
        await self._server.start()
        await self._probe.start()
        topics = await self._declared()
        await asyncio.to_thread(_compile, self._shipped.pipeline)
        app = self._app = LaneApp(self._settings, topics, self.registry)
        house = House(self._shipped, self._models, self._sinks, self._aligned)
        for stage in ROUTE:
            if stage.__name__ in self._stages:
                stage(app, house)
        app.finalize()
        await app.start()
        app.flow_control.resume()
        for source in app.sources:
            await app.add_runtime_dependency(source)
        _calm_the_collector()

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
                return await declare_topics(self._settings, Topics(self._shipped.pipeline.name))
            except (KafkaError, LaterError, OSError) as error:
                _log.warning(
                    "broker_unreachable",
                    bootstrap=self._settings.brokers,
                    error=str(error),
                    retry_in_ms=backoff_ms,
                )
            await asyncio.sleep(backoff_ms / 1000)
            backoff_ms = min(2 * backoff_ms, self._settings.retry_backoff_ms_max)

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
            OursError: a lane stopped for good meanwhile.
        """
        while not self._stopped:
            if isinstance(self.failure, UsageError):
                raise self.failure
            if self.failure is not None:
                raise OursError("a lane stopped") from self.failure
            await asyncio.sleep(_POLL_S)

    async def stop(self) -> None:
        """Drain within `drain_timeout_ms`, leave the groups, close everything."""
        self._stopped = True
        if (app := self._app) is not None:
            timeout_s = self._settings.drain_timeout_ms / 1000
            drains = [asyncio.ensure_future(source.drain()) for source in app.sources]
            if drains:
                await asyncio.wait(drains, timeout=timeout_s)
            for source in app.sources:
                await source.stop()
            await app.stop()
        for sink in self._sinks:
            await sink.close()
        models = self._models
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


def _calm_the_collector() -> None:
    """Keep the cyclic collector away from what lives for ever, and from every queued record."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(50_000, 20, 50)
