"""How a short command reaches the brokers: once, and it says itself what went wrong."""

import logging
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from batuta.streams.settings import ClientOptions

__all__ = ["connection"]


def connection(bootstrap: str | None) -> "ClientOptions":
    """Return how to reach the brokers, from flag and environment.

    The client library's own complaints are silenced: the command's one sentence says the same.

    Raises:
        UsageError: no broker is named, or a setting is wrong.
    """
    from batuta.streams.settings import client_options, load_settings

    logging.getLogger("aiokafka").setLevel(logging.CRITICAL)
    return client_options(load_settings(bootstrap=bootstrap))
