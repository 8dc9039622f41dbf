"""Calls to a model server: one JSON request, one JSON reply, and nothing of it taken on trust.

Each call is one attempt within one deadline, the wait for a connection included. Redirects are
refused (a key would travel along), a reply is read up to a bound, and must be JSON and say so.
A server that asks for patience (429 or 503 with Retry-After) is left alone for as long.
"""

import asyncio
import datetime as dt
from dataclasses import dataclass, field
from email.utils import parsedate_to_datetime
from typing import Final, cast

import aiohttp
import orjson
from pydantic import SecretStr

from batuta.schemas.errors import FailureKind, ModelFailedError

__all__ = ["Endpoint", "HttpCalls"]

_OK: Final = 200
_OVERLOADED: Final = frozenset({429, 503})
_TIMEOUTS: Final = frozenset({408, 504})
_SERVER_ERROR: Final = 500
_RETRY_AFTER_MS_MAX: Final = 60_000
_MIB: Final = 1_048_576
_JSON: Final = "application/json"


@dataclass(frozen=True, slots=True)
class Endpoint:
    """Where a model is served, and what a call may take.

    Attributes:
        url: http or https, without a slash at its end.
        timeout_ms: for one call, the wait for a connection included.
        key: sent as a bearer token.
        connections_max: how many calls are under way at once.
        reply_bytes_max: a longer reply is refused unread.
    """

    url: str
    timeout_ms: int = 1_000
    key: SecretStr | None = field(default=None, repr=False)
    connections_max: int = 64
    reply_bytes_max: int = 8 * _MIB


class HttpCalls:
    """The connections to one endpoint."""

    def __init__(self, endpoint: Endpoint) -> None:
        self._endpoint = endpoint
        self._session: aiohttp.ClientSession | None = None
        self._quiet_until_s = 0.0

    async def post(self, path: str, request: object) -> dict[str, object]:
        """Return the JSON object that the server replies with.

        Args:
            path: behind the endpoint's address, beginning with a slash.
            request: anything orjson writes, numpy arrays included.

        Raises:
            ModelFailedError: there was none.
        """
        self._be_patient()
        body = orjson.dumps(request, option=orjson.OPT_SERIALIZE_NUMPY)
        session = self._session = self._session or self._open()
        url = self._endpoint.url + path
        try:
            async with session.post(url, data=body, allow_redirects=False) as response:
                self._judge(response)
                return _object(await self._read(response))
        except TimeoutError:
            what = f"no answer within {self._endpoint.timeout_ms} ms"
            raise ModelFailedError("timeout", what) from None
        except aiohttp.ClientPayloadError:
            raise ModelFailedError("invalid", "the reply broke off") from None
        except (aiohttp.ClientError, ValueError) as error:
            # Only its kind: the text may hold the address.
            raise ModelFailedError("unavailable", f"not reached ({type(error).__name__})") from None

    async def close(self) -> None:
        """Close the connections."""
        if self._session is not None:
            await self._session.close()
            self._session = None

    def _be_patient(self) -> None:
        left_s = self._quiet_until_s - asyncio.get_running_loop().time()
        if left_s > 0:
            left_ms = int(left_s * 1000) + 1
            what = f"it asked to be left alone for {left_ms} ms more"
            raise ModelFailedError("overloaded", what, retry_after_ms=left_ms)

    def _open(self) -> aiohttp.ClientSession:
        endpoint = self._endpoint
        headers = {"Content-Type": _JSON, "Accept": _JSON, "User-Agent": "batuta"}
        headers["Accept-Encoding"] = "identity"
        if endpoint.key is not None:
            headers["Authorization"] = f"Bearer {endpoint.key.get_secret_value()}"
        return aiohttp.ClientSession(
            headers=headers,
            timeout=aiohttp.ClientTimeout(total=endpoint.timeout_ms / 1000),
            connector=aiohttp.TCPConnector(limit=endpoint.connections_max),
            cookie_jar=aiohttp.DummyCookieJar(),
            auto_decompress=False,
        )

    def _judge(self, response: aiohttp.ClientResponse) -> None:
        status = response.status
        if status == _OK:
            if response.content_type != _JSON:
                what = f"the reply is {response.content_type}, not {_JSON}"
                raise ModelFailedError("invalid", what)
            if response.headers.get("Content-Encoding", "identity") != "identity":
                raise ModelFailedError("invalid", "the reply is compressed, which nobody asked for")
            return
        after_ms = _milliseconds(response.headers.get("Retry-After"))
        if status in _OVERLOADED and after_ms:
            self._quiet_until_s = asyncio.get_running_loop().time() + after_ms / 1000
        raise ModelFailedError(_kind(status), f"answered {status}", retry_after_ms=after_ms)

    async def _read(self, response: aiohttp.ClientResponse) -> bytes:
        pieces, size, size_max = list[bytes](), 0, self._endpoint.reply_bytes_max
        async for piece in response.content.iter_any():
            size += len(piece)
            if size > size_max:
                response.close()
                what = f"the reply is longer than {size_max} bytes"
                raise ModelFailedError("invalid", what)
            pieces.append(piece)
        return b"".join(pieces)


def _kind(status: int) -> FailureKind:
    if status in _OVERLOADED:
        return "overloaded"
    if status in _TIMEOUTS:
        return "timeout"
    return "unavailable" if status >= _SERVER_ERROR else "refused"


def _object(body: bytes) -> dict[str, object]:
    try:
        reply = orjson.loads(body)
    except orjson.JSONDecodeError as error:
        raise ModelFailedError("invalid", f"the reply is no JSON: {error}") from None
    if not isinstance(reply, dict):
        raise ModelFailedError("invalid", "the reply is no JSON object")
    return cast("dict[str, object]", reply)


def _milliseconds(retry_after: str | None) -> int | None:
    """Read a Retry-After header, seconds or a date, up to a bound; None where it is neither."""
    if retry_after is None:
        return None
    if retry_after.isascii() and retry_after.isdigit():
        seconds = float(retry_after[:9])
    else:
        try:
            until = parsedate_to_datetime(retry_after)
        except ValueError:
            return None
        seconds = (until.astimezone(dt.UTC) - dt.datetime.now(dt.UTC)).total_seconds()
    return min(max(int(seconds * 1000), 0), _RETRY_AFTER_MS_MAX)
