"""A sink of the user's own, within bounds: what it raises or hangs in is an unreachable sink.

It runs on an event loop of its own, so that one which blocks holds up neither the worker nor the
other sinks; what it does not take is tried again, a bounded number of times, and then kept as a
dead letter.
"""

from contextlib import suppress
from typing import Final

from batuta.schemas.errors import SinkUnavailableError
from batuta.schemas.notification import Notification
from batuta.streams.adapters.aside import Aside
from batuta.streams.sinks.port import Sink

__all__ = ["BoundedSink"]

_TIMEOUT_S: Final = 5.0


class BoundedSink:
    """Any sink behind the port, bounded.

    Attributes:
        channel: the sink's.
    """

    def __init__(self, sink: Sink, timeout_s: float = _TIMEOUT_S) -> None:
        self.channel = sink.channel
        self._sink = sink
        self._aside = Aside(f"sink {sink.channel}", timeout_s)

    async def deliver(self, notification: Notification) -> None:
        """Hand one notification over.

        Raises:
            SinkUnavailableError: the sink raised, or did not come back in time.
        """
        try:
            await self._aside.call(self._sink.deliver, notification)
        except SinkUnavailableError:
            raise
        except Exception as failure:
            said = str(failure) or repr(failure)
            raise SinkUnavailableError(f"sink {self.channel}: {said}") from failure

    async def close(self) -> None:
        """Let the sink let go; one that will not is left behind."""
        # The worker ends, whatever a sink says to that.
        with suppress(Exception):
            await self._aside.call(self._sink.close)
        self._aside.close()
