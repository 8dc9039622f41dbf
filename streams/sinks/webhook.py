"""The webhook sink: one signed POST per notification, after the Standard Webhooks specification.

    POST <url>
    webhook-id: <notification id>           the same on every retry: drop what was seen before
    webhook-timestamp: <seconds since 1970> of this attempt
    webhook-signature: v1,<base64 HMAC-SHA256 of "id.timestamp.body">

    {"type": "notification.raised", "timestamp": "2018-04-01T10:17:43.052Z", "data": {...}}

Delivery guarantee: at least once. 2xx is taken; timeouts, connection errors, 408, 425, 429 and 5xx
are tried again with jitter, no sooner than `Retry-After` asks (up to a bound); anything else is
final, redirects included. A response's body is never waited for.
"""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass
from email.utils import parsedate_to_datetime
from typing import TYPE_CHECKING, Final

import aiohttp
import orjson
import stamina
from standardwebhooks import Webhook

from batuta.schemas.errors import SinkUnavailableError
from batuta.schemas.times import rfc3339

if TYPE_CHECKING:
    from pydantic import SecretStr

    from batuta.schemas.notification import Notification

__all__ = ["WebhookOptions", "WebhookSink"]

_AGAIN: Final = frozenset({408, 425, 429})
_SERVER_ERROR: Final = 500
_SUCCESS: Final = range(200, 300)
#: A receiver that asks for more patience than this is asked again after this.
_RETRY_AFTER_S_MAX: Final = 30.0
_JITTER_SHARE: Final = 0.5
_CONNECTIONS_MAX: Final = 16


@dataclass(frozen=True, slots=True)
class WebhookOptions:
    """Where a webhook goes, and how patiently.

    Attributes:
        url: http or https; not logged, as it may carry a token.
        secret: base64, after an optional `whsec_`.
        timeout_ms: for one attempt, connecting included.
        attempts_max: how often a delivery is tried in all.
        backoff_ms, backoff_ms_max: the first pause between attempts, and the longest.
    """

    url: str
    secret: SecretStr
    timeout_ms: int = 5_000
    attempts_max: int = 5
    backoff_ms: int = 100
    backoff_ms_max: int = 5_000


class _RefusedError(Exception):
    """The receiver said no in a way that another attempt would not change."""


class _UnansweredError(Exception):
    """The receiver may take it later.

    Attributes:
        after_s: how long it asked us to wait; None where it did not say.
    """

    def __init__(self, detail: str, after_s: float | None = None) -> None:
        super().__init__(detail)
        self.after_s = after_s


class WebhookSink:
    """Posts notifications to one receiver."""

    channel: str = "webhook"

    def __init__(self, options: WebhookOptions) -> None:
        self._options = options
        self._signer = Webhook(options.secret.get_secret_value())
        self._session: aiohttp.ClientSession | None = None

    async def deliver(self, notification: Notification) -> None:
        """Post one notification, several times if need be.

        Raises:
            SinkUnavailableError: it was refused, or not taken within `attempts_max` attempts.
        """
        body = _body(notification)
        options = self._options
        attempts = stamina.retry_context(
            on=_backoff,
            attempts=options.attempts_max,
            timeout=None,
            wait_initial=options.backoff_ms / 1000,
            wait_max=options.backoff_ms_max / 1000,
            wait_jitter=options.backoff_ms * _JITTER_SHARE / 1000,
        )
        try:
            async for attempt in attempts:
                with attempt:
                    await self._post(notification.notification_id, body)
        except (_RefusedError, _UnansweredError) as error:
            retriable = isinstance(error, _UnansweredError)
            raise SinkUnavailableError(f"webhook: {error}", retriable=retriable) from None

    async def close(self) -> None:
        """Close the connections."""
        if self._session is not None:
            await self._session.close()
            self._session = None

    async def _post(self, notification_id: str, body: bytes) -> None:
        session = self._session = self._session or self._open()
        url, headers = self._options.url, self._headers(notification_id, body)
        try:
            async with session.post(
                url, data=body, headers=headers, allow_redirects=False
            ) as response:
                _judge(response.status, response.headers.get("Retry-After"))
        except TimeoutError:
            raise _UnansweredError(f"no answer within {self._options.timeout_ms} ms") from None
        except aiohttp.ClientError as error:
            # Only its kind: the text may hold the address.
            raise _UnansweredError(f"not reached ({type(error).__name__})") from None

    def _open(self) -> aiohttp.ClientSession:
        return aiohttp.ClientSession(
            timeout=aiohttp.ClientTimeout(total=self._options.timeout_ms / 1000),
            connector=aiohttp.TCPConnector(limit=_CONNECTIONS_MAX),
            cookie_jar=aiohttp.DummyCookieJar(),
            auto_decompress=False,
        )

    def _headers(self, notification_id: str, body: bytes) -> dict[str, str]:
        now = dt.datetime.now(dt.UTC)
        return {
            "Content-Type": "application/json",
            "User-Agent": "batuta",
            "webhook-id": notification_id,
            "webhook-timestamp": str(int(now.timestamp())),
            "webhook-signature": self._signer.sign(notification_id, now, body.decode()),
        }


def _judge(status: int, retry_after: str | None) -> None:
    if status in _SUCCESS:
        return
    if status in _AGAIN or status >= _SERVER_ERROR:
        raise _UnansweredError(f"answered {status}", _seconds(retry_after))
    raise _RefusedError(f"refused with {status}")


def _seconds(retry_after: str | None) -> float | None:
    """Read a Retry-After header: seconds, or a date; None where it is neither."""
    if retry_after is None:
        return None
    if retry_after.isascii() and retry_after.isdigit():
        seconds = float(retry_after)
    else:
        try:
            until = parsedate_to_datetime(retry_after)
        except ValueError:
            return None
        seconds = (until.astimezone(dt.UTC) - dt.datetime.now(dt.UTC)).total_seconds()
    return min(max(seconds, 0.0), _RETRY_AFTER_S_MAX)


def _backoff(error: Exception) -> bool | float:
    """Tell stamina whether to try again, and after how long where the receiver said so."""
    if not isinstance(error, _UnansweredError):
        return False
    return True if error.after_s is None else error.after_s


def _body(notification: Notification) -> bytes:
    raised_at = rfc3339(notification.created_at_ms)
    data = {
        "notification_id": notification.notification_id,
        "pipeline": notification.pipeline,
        "tenant": notification.tenant,
        "severity": notification.severity,
        "title": notification.title,
        "summary": notification.summary,
        "event_id": notification.event_id,
        "labels": dict(notification.labels),
        "created_at": raised_at,
    }
    return orjson.dumps({"type": "notification.raised", "timestamp": raised_at, "data": data})
