"""Logs: structlog for ours, the same lines for everybody else's, on stderr alone.

aiokafka says "Unable connect" several times a second at ERROR for as long as a broker is away. No
library's complaint is an ERROR here (that word means a human must act, which only our facts can
tell), and the same complaint is said once in a while with how often it was swallowed.
"""

from __future__ import annotations

import logging
import sys
import time
from typing import TYPE_CHECKING, Final

import stamina
import structlog
from rich.console import Console

if TYPE_CHECKING:
    from collections.abc import Callable, Hashable

    from structlog.typing import Processor

    from batuta.streams.settings import Settings

__all__ = ["Sparing", "SparingFilter", "configure_logs"]

_INTERVAL_S: Final = 30.0
_KEYS_MAX: Final = 256
_LIBRARIES: Final = ("aiokafka", "faust", "mode")
#: Modules whose `mode` services announce each start and stop; our facts say what they mean.
_SERVICES: Final = ("batuta.streams.app", "batuta.streams.lanes.source")


class Sparing:
    """Lets a thing be said once per interval, and remembers how often it was not.

    Args:
        interval_s: seconds between two times.
        clock: seconds from any start, never going back.
    """

    def __init__(self, interval_s: float, clock: Callable[[], float] = time.monotonic) -> None:
        self._interval_s = interval_s
        self._clock = clock
        self._said: dict[Hashable, tuple[float, int]] = {}

    def allow(self, key: Hashable, count: int = 1) -> int | None:
        """Ask whether `key` may be said now.

        Returns:
            How often it happened since it was last said, this time included; None while quiet.
        """
        now = self._clock()
        said_at, quiet = self._said.get(key, (now - self._interval_s, 0))
        if now - said_at < self._interval_s:
            self._said[key] = (said_at, quiet + count)
            return None
        if len(self._said) >= _KEYS_MAX and key not in self._said:
            self._said.pop(next(iter(self._said)))
        self._said[key] = (now, 0)
        return quiet + count


class SparingFilter(logging.Filter):
    """Holds back a library's repeated warnings, and never lets it cry ERROR."""

    def __init__(self, sparing: Sparing | None = None) -> None:
        super().__init__()
        self._sparing = sparing or Sparing(_INTERVAL_S)

    def filter(self, record: logging.LogRecord) -> bool:
        """Say whether the record is written."""
        library = record.name.split(".", 1)[0]
        if library not in _LIBRARIES or record.levelno < logging.WARNING:
            return True
        if record.levelno > logging.WARNING:
            record.levelno, record.levelname = logging.WARNING, "WARNING"
        count = self._sparing.allow((record.name, str(record.msg)))
        if count is None:
            return False
        if count > 1:
            record.msg = f"{record.getMessage()} (and {count - 1} more like it)"
            record.args = ()
        return True


def configure_logs(settings: Settings) -> None:
    """Send every log line of the process to stderr, in the format and from the level on asked for.

    Args:
        settings: `log_level` and `log_format` (console for people, json for machines).
    """
    shared: list[Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
    ]
    structlog.configure(
        processors=[
            structlog.stdlib.filter_by_level,
            *shared,
            structlog.stdlib.ProcessorFormatter.wrap_for_formatter,
        ],
        logger_factory=structlog.stdlib.LoggerFactory(),
        wrapper_class=structlog.stdlib.BoundLogger,
        cache_logger_on_first_use=False,
    )
    handler = logging.StreamHandler(sys.stderr)
    handler.addFilter(SparingFilter())
    handler.setFormatter(_formatter(shared, settings.log_format))
    # Our facts tell of retries, bounded and with their reason.
    stamina.instrumentation.set_on_retry_hooks(())
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(settings.log_level.upper())
    for library in (*_LIBRARIES, *_SERVICES):
        logging.getLogger(library).setLevel(max(root.level, logging.WARNING))


def _formatter(shared: list[Processor], log_format: str) -> logging.Formatter:
    last: list[Processor]
    if log_format == "json":
        last = [structlog.processors.format_exc_info, structlog.processors.JSONRenderer()]
    else:
        terminal = Console(stderr=True)
        colors = terminal.is_terminal and not terminal.no_color
        last = [structlog.dev.ConsoleRenderer(colors=colors)]
    return structlog.stdlib.ProcessorFormatter(
        foreign_pre_chain=[*shared, structlog.stdlib.ExtraAdder()],
        processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, *last],
    )
