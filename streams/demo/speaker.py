"""Who speaks on a topic while a demonstration runs, and says nothing where nobody listens."""

from types import TracebackType
from typing import Self

from batuta.streams.publisher import Publisher
from batuta.streams.settings import ClientOptions

__all__ = ["Speaker"]


class Speaker:
    """Has a publisher while it is entered, where there is anything to say."""

    def __init__(self, options: ClientOptions, topic: str, *, speaks: bool) -> None:
        """Connect to nobody yet.

        Args:
            options: how to reach the brokers.
            topic: must exist where anything is said.
            speaks: whether anything is.
        """
        self._options = options
        self._topic = topic
        self._speaks = speaks
        self._publisher: Publisher | None = None

    async def __aenter__(self) -> Self:
        """Connect.

        Raises:
            BrokerUnreachableError: no broker answers.
            TopicMismatchError: the topic does not exist.
        """
        if self._speaks:
            self._publisher = await Publisher(self._options, self._topic).__aenter__()
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Send what is on its way and disconnect."""
        if self._publisher is not None:
            await self._publisher.__aexit__(kind, error, trace)
