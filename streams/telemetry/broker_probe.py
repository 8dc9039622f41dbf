"""Whether a Kafka broker answers, asked every few seconds on a connection of its own.

A consumer whose brokers are gone just sees no records, which looks like quiet input. So the worker
asks by itself, says when the answer changes, and shows it as `batuta_broker_up`.
"""

from __future__ import annotations

import asyncio
import contextlib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import structlog
from aiokafka.client import AIOKafkaClient
from aiokafka.errors import KafkaError

from batuta.streams.settings import client_options
from batuta.streams.telemetry.metrics import families_of

if TYPE_CHECKING:
    from prometheus_client import CollectorRegistry, Gauge

    from batuta.streams.settings import Settings

__all__ = ["BrokerLost", "BrokerProbe", "BrokerReached"]

_INTERVAL_S: Final = 5.0
_log = structlog.get_logger("batuta")


@dataclass(frozen=True, slots=True)
class BrokerReached:
    """A broker answered, for the first time or again."""

    brokers: str

    def tell(self, up: Gauge) -> None:
        """Show and say it."""
        up.set(1)
        _log.info("broker_reached", brokers=self.brokers)


@dataclass(frozen=True, slots=True)
class BrokerLost:
    """No broker answers any more; clients go on trying by themselves."""

    brokers: str
    error: str

    def tell(self, up: Gauge) -> None:
        """Show and say it."""
        up.set(0)
        _log.warning("broker_lost", brokers=self.brokers, error=self.error)


class BrokerProbe:
    """Asks the brokers for their metadata again and again.

    Args:
        settings: where they are.
        registry: where `batuta_broker_up` is, once the first answer is in.
        interval_s: between two questions.
    """

    def __init__(
        self, settings: Settings, registry: CollectorRegistry, interval_s: float = _INTERVAL_S
    ) -> None:
        self._settings = settings
        self._families = families_of(registry)
        self._interval_s = interval_s
        self._lost: str | None = None
        self._known = False
        self._task: asyncio.Task[None] | None = None

    @property
    def trouble(self) -> str | None:
        """What the last question met, in a sentence; None where a broker answered."""
        return self._lost

    async def start(self) -> None:
        """Begin to ask."""
        self._task = asyncio.create_task(self._ask_for_ever(), name="broker-probe")

    async def stop(self) -> None:
        """Ask no more."""
        if self._task is not None:
            self._task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._task
            self._task = None

    async def _ask_for_ever(self) -> None:
        while True:
            self._take(await self._ask())
            await asyncio.sleep(self._interval_s)

    async def _ask(self) -> str | None:
        """Return what went wrong, None where a broker answered."""
        client = AIOKafkaClient(**client_options(self._settings))
        timeout_s = self._settings.session_timeout_ms / 1000
        try:
            async with asyncio.timeout(timeout_s):
                await client.bootstrap()
        except TimeoutError:
            return f"no answer within {timeout_s} s"
        except (KafkaError, OSError) as error:
            return str(error)
        finally:
            await client.close()
        return None

    def _take(self, error: str | None) -> None:
        brokers = self._settings.brokers
        up = self._families.broker_up()
        if error is None and (self._lost is not None or not self._known):
            BrokerReached(brokers).tell(up)
        if error is not None and (self._lost is None or not self._known):
            BrokerLost(brokers, error).tell(up)
        self._known = True
        self._lost = None if error is None else f"no Kafka broker answers at {brokers}: {error}"
