"""What a worker shows of itself over HTTP: /metrics, /livez, /readyz, and nothing else.

Loopback unless the settings say otherwise: none of the three asks who is there.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from aiohttp import web
from prometheus_client import generate_latest

from batuta.schemas.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from prometheus_client import CollectorRegistry

    from batuta.streams.settings import Settings

__all__ = ["MetricsServer"]

#: The classic text format; `generate_latest` writes it and every scraper reads it.
_FORMAT: Final = "text/plain; version=0.0.4; charset=utf-8"
_GOODBYE_S: Final = 1.0


class MetricsServer:
    """Serves a registry and the worker's health.

    Args:
        settings: `metrics_host` and `metrics_port` (0 takes any free port).
        registry: what /metrics shows.
        not_ready: says what is not ready yet, one sentence each; nothing when all is.
    """

    def __init__(
        self,
        settings: Settings,
        registry: CollectorRegistry,
        not_ready: Callable[[], Sequence[str]],
    ) -> None:
        self._host = settings.metrics_host
        self._port = settings.metrics_port
        self._registry = registry
        self._not_ready = not_ready
        self._runner: web.AppRunner | None = None

    @property
    def url(self) -> str:
        """Where Prometheus finds the metrics, once started."""
        assert self._runner is not None, "start() first"
        host, port = self._runner.addresses[0][:2]
        return f"http://{f'[{host}]' if ':' in host else host}:{port}/metrics"

    async def start(self) -> None:
        """Listen.

        Raises:
            UsageError: the address cannot be listened on.
        """
        app = web.Application()
        app.router.add_get("/metrics", self._metrics)
        app.router.add_get("/livez", self._livez)
        app.router.add_get("/readyz", self._readyz)
        self._runner = web.AppRunner(app, access_log=None, shutdown_timeout=_GOODBYE_S)
        await self._runner.setup()
        try:
            await web.TCPSite(self._runner, self._host, self._port).start()
        except OSError as cause:
            await self.stop()
            where = f"{self._host}:{self._port}"
            fix = "choose another metrics_port (BATUTA_METRICS_PORT, --metrics-port), or 0 for any"
            raise UsageError(f"cannot serve metrics on {where}: {cause.strerror}; {fix}") from cause

    async def stop(self) -> None:
        """Listen no more."""
        if self._runner is not None:
            await self._runner.cleanup()
            self._runner = None

    async def _metrics(self, _: web.Request) -> web.Response:
        return web.Response(body=generate_latest(self._registry), headers={"Content-Type": _FORMAT})

    async def _livez(self, _: web.Request) -> web.Response:
        return web.Response(text="alive\n")

    async def _readyz(self, _: web.Request) -> web.Response:
        reasons = self._not_ready()
        if reasons:
            return web.Response(status=503, text="".join(f"{reason}\n" for reason in reasons))
        return web.Response(text="ready\n")
