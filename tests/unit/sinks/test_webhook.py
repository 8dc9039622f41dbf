"""The webhook sink against a real receiver that behaves badly in every way we could think of."""

from __future__ import annotations

import asyncio
import datetime as dt
from collections.abc import Awaitable, Callable
from email.utils import format_datetime
from typing import TYPE_CHECKING

import orjson
import pytest
import structlog
from aiohttp import web
from pydantic import SecretStr
from standardwebhooks import Webhook

from batuta.schemas.errors import SinkUnavailableError
from batuta.schemas.notification import Notification
from batuta.streams.sinks.webhook import WebhookOptions, WebhookSink

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
NOTIFICATION = Notification(
    notification_id="6f2d1a",
    pipeline="fraud",
    tenant="default",
    severity="critical",
    title="fraud: tx-000003527 blocked",
    summary="The score is above the block threshold.",
    event_id="tx-000003527",
    labels={"outcome": "block", "stadt": "Zürich"},
    created_at_ms=1_522_577_863_052,
)

Answer = Callable[[web.Request], Awaitable[web.StreamResponse]]


class Receiver:
    """Answers each request by the next answer of its script, the last one for ever."""

    def __init__(self) -> None:
        self.script: list[Answer] = []
        self.seen: list[tuple[dict[str, str], bytes]] = []
        self.at_s: list[float] = []
        self.url = ""
        self.released = asyncio.Event()

    async def handle(self, request: web.Request) -> web.StreamResponse:
        self.at_s.append(asyncio.get_running_loop().time())
        self.seen.append((dict(request.headers), await request.read()))
        return await self.script[min(len(self.seen), len(self.script)) - 1](request)


def status(code: int, **headers: str) -> Answer:
    async def answer(_: web.Request) -> web.StreamResponse:
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        return web.Response(status=code, headers=named)

    return answer


@pytest.fixture
async def receiver() -> AsyncIterator[Receiver]:
    receiver = Receiver()
    app = web.Application()
    app.router.add_route("*", "/{path:.*}", receiver.handle)
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    host, port = runner.addresses[0][:2]
    receiver.url = f"http://{host}:{port}/hooks/token-in-the-path"
    yield receiver
    receiver.released.set()
    await runner.cleanup()


@pytest.fixture
async def sink(receiver: Receiver) -> AsyncIterator[WebhookSink]:
    options = WebhookOptions(
        url=receiver.url,
        secret=SecretStr(SECRET),
        timeout_ms=400,
        attempts_max=3,
        backoff_ms=1,
        backoff_ms_max=5,
    )
    sink = WebhookSink(options)
    yield sink
    await sink.close()


async def refusal(sink: WebhookSink) -> str:
    with pytest.raises(SinkUnavailableError) as refused:
        await sink.deliver(NOTIFICATION)
    return str(refused.value)


async def test_the_signature_holds_and_the_body_says_what_happened(
    receiver: Receiver, sink: WebhookSink
) -> None:
    receiver.script = [status(204)]
    await sink.deliver(NOTIFICATION)
    ((headers, body),) = receiver.seen
    verified = Webhook(SECRET).verify(body, headers)
    assert verified == orjson.loads(body)
    assert headers["webhook-id"] == "6f2d1a"
    assert verified["type"] == "notification.raised"
    assert verified["timestamp"] == "2018-04-01T10:17:43.052Z"
    assert verified["data"] == {
        "notification_id": "6f2d1a",
        "pipeline": "fraud",
        "tenant": "default",
        "severity": "critical",
        "title": "fraud: tx-000003527 blocked",
        "summary": "The score is above the block threshold.",
        "event_id": "tx-000003527",
        "labels": {"outcome": "block", "stadt": "Zürich"},
        "created_at": "2018-04-01T10:17:43.052Z",
    }


@pytest.mark.parametrize("code", [408, 425, 429, 500, 502, 503, 504])
async def test_what_may_pass_later_is_tried_again_under_the_same_id(
    receiver: Receiver, sink: WebhookSink, code: int
) -> None:
    receiver.script = [status(code), status(200)]
    await sink.deliver(NOTIFICATION)
    assert [headers["webhook-id"] for headers, _ in receiver.seen] == ["6f2d1a", "6f2d1a"]
    for headers, body in receiver.seen:
        Webhook(SECRET).verify(body, headers)


@pytest.mark.parametrize("code", [400, 401, 403, 404, 410, 422])
async def test_a_refusal_is_final(receiver: Receiver, sink: WebhookSink, code: int) -> None:
    receiver.script = [status(code), status(200)]
    assert await refusal(sink) == f"webhook: refused with {code}"
    assert len(receiver.seen) == 1


async def test_a_redirect_is_not_followed(receiver: Receiver, sink: WebhookSink) -> None:
    receiver.script = [status(307, Location=f"{receiver.url}/elsewhere"), status(200)]
    assert await refusal(sink) == "webhook: refused with 307"
    assert len(receiver.seen) == 1


async def test_attempts_are_bounded(receiver: Receiver, sink: WebhookSink) -> None:
    receiver.script = [status(503)]
    assert await refusal(sink) == "webhook: answered 503"
    assert len(receiver.seen) == 3


async def test_a_receiver_that_hangs_is_given_up_on_and_tried_again(
    receiver: Receiver, sink: WebhookSink
) -> None:
    async def hang(_: web.Request) -> web.StreamResponse:
        await receiver.released.wait()
        return web.Response()

    receiver.script = [hang]
    async with asyncio.timeout(20):
        assert await refusal(sink) == "webhook: no answer within 400 ms"
    assert len(receiver.seen) == 3


async def test_a_slow_receiver_within_the_timeout_is_waited_for(
    receiver: Receiver, sink: WebhookSink
) -> None:
    async def slow(_: web.Request) -> web.StreamResponse:
        await asyncio.sleep(0.05)
        return web.Response()

    receiver.script = [slow]
    await sink.deliver(NOTIFICATION)
    assert len(receiver.seen) == 1


async def test_an_endless_body_is_not_read(receiver: Receiver, sink: WebhookSink) -> None:
    sent = 0

    async def endless(request: web.Request) -> web.StreamResponse:
        nonlocal sent
        response = web.StreamResponse()
        await response.prepare(request)
        while not receiver.released.is_set():
            await response.write(b"x" * 65_536)
            sent += 65_536
        return response

    receiver.script = [endless]
    await sink.deliver(NOTIFICATION)
    await sink.deliver(NOTIFICATION)
    assert len(receiver.seen) == 2
    assert sent < 64 * 1_048_576


async def test_a_body_that_never_comes_does_not_make_a_delivery_fail(
    receiver: Receiver, sink: WebhookSink
) -> None:
    async def headers_alone(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse()
        await response.prepare(request)
        await receiver.released.wait()
        return response

    receiver.script = [headers_alone]
    await sink.deliver(NOTIFICATION)
    assert len(receiver.seen) == 1


async def test_a_dropped_connection_is_tried_again(receiver: Receiver, sink: WebhookSink) -> None:
    async def drop(request: web.Request) -> web.StreamResponse:
        assert request.transport is not None
        request.transport.abort()
        return web.Response()

    receiver.script = [drop, status(200)]
    await sink.deliver(NOTIFICATION)
    assert len(receiver.seen) == 2


async def test_nobody_listening_is_said_without_the_address() -> None:
    options = WebhookOptions(
        url="http://127.0.0.1:1/token-in-the-path",
        secret=SecretStr(SECRET),
        attempts_max=2,
        backoff_ms=1,
        backoff_ms_max=1,
    )
    sink = WebhookSink(options)
    said = await refusal(sink)
    await sink.close()
    assert said.startswith("webhook: not reached")
    assert "token-in-the-path" not in said


@pytest.mark.parametrize("form", ["seconds", "date"])
async def test_retry_after_is_honoured(receiver: Receiver, sink: WebhookSink, form: str) -> None:
    async def ask_for_patience(request: web.Request) -> web.StreamResponse:
        later = dt.datetime.now(dt.UTC).replace(microsecond=0) + dt.timedelta(seconds=2)
        asked = "1" if form == "seconds" else format_datetime(later, usegmt=True)
        return await status(503, Retry_After=asked)(request)

    receiver.script = [ask_for_patience, status(200)]
    await sink.deliver(NOTIFICATION)
    first_s, second_s = receiver.at_s
    # Without the header the pause is at most 5 ms.
    assert second_s - first_s > 0.5


@pytest.mark.parametrize("nonsense", ["soon", "-5", "", "Thu, 01 Jan 1970 00:00:00 GMT", "1e3"])
async def test_a_nonsensical_retry_after_is_ignored(
    receiver: Receiver, sink: WebhookSink, nonsense: str
) -> None:
    receiver.script = [status(503, Retry_After=nonsense), status(200)]
    await sink.deliver(NOTIFICATION)
    assert len(receiver.seen) == 2


async def test_neither_secret_nor_address_is_logged(receiver: Receiver, sink: WebhookSink) -> None:
    receiver.script = [status(500)]
    with structlog.testing.capture_logs() as lines:
        said = await refusal(sink)
    assert SECRET.removeprefix("whsec_") not in said + str(lines)
    assert "token-in-the-path" not in said + str(lines)


async def test_cancellation_ends_a_delivery(receiver: Receiver, sink: WebhookSink) -> None:
    async def hang(_: web.Request) -> web.StreamResponse:
        await receiver.released.wait()
        return web.Response()

    receiver.script = [hang]
    delivery = asyncio.create_task(sink.deliver(NOTIFICATION))
    async with asyncio.timeout(5):
        while not receiver.seen:  # noqa: ASYNC110 - the condition is the receiver's
            await asyncio.sleep(0.001)
    delivery.cancel()
    with pytest.raises(asyncio.CancelledError):
        await delivery
    assert len(receiver.seen) == 1
