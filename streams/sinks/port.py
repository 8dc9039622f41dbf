"""The port every sink answers through."""

from typing import Protocol

from batuta.schemas.notification import Notification

__all__ = ["Sink"]


class Sink(Protocol):
    """A place notifications go to."""

    @property
    def channel(self) -> str:
        """Its name on metrics."""
        ...

    async def deliver(self, notification: Notification) -> None:
        """Hand one notification over; its id stays the same however often it is tried.

        Raises:
            SinkUnavailableError: it was not taken, after as many attempts as the sink makes.
        """
        ...

    async def close(self) -> None:
        """Let go of connections."""
        ...
