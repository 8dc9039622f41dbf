"""The server itself: routes, and the faults that only a wire can have.

POST /<behaviour>/v2/models/<name>/infer          Open Inference Protocol v2
POST /<behaviour>/v1/chat/completions             OpenAI-compatible chat
GET  /calls                                       how often each behaviour was asked

async with ModelServer() as server:
    url = server.url("lies")
"""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any, Final, Self

import orjson
from aiohttp import web

from batuta.streams.model_server.behaviours import BEHAVIOURS, FAULTS, Behaviours

__all__ = ["ModelServer"]

_REQUEST_BYTES_MAX: Final = 64 * 1_048_576
_FLOOD: Final = b" " * 65_536
_DRIP_S: Final = 0.02
_JSON: Final = "application/json"
_RETRY_AFTER_S: Final = "2"

_Answer = Callable[[str, web.Request], Awaitable[dict[str, Any]]]


class ModelServer:
    """Serves on loopback, in this process; `process.ModelServerProcess` serves in one of its own.

    Attributes:
        behaviours: what has been asked; `behaviours.calls` counts by behaviour.
    """

    def __init__(self, port: int = 0, delay_ms: int = 0) -> None:
        """Prepare to serve.

        Args:
            port: to listen on; 0 takes a free one.
            delay_ms: how long each answer takes.
        """
        self.behaviours = Behaviours()
        self._port = port
        self._delay_s = delay_ms / 1000
        self._ended = asyncio.Event()
        self._runner: web.AppRunner | None = None

    async def __aenter__(self) -> Self:
        app = web.Application(client_max_size=_REQUEST_BYTES_MAX)
        app.router.add_post("/{behaviour}/v2/models/{name}/infer", self._infer)
        app.router.add_post("/{behaviour}/v2/models/{name}/versions/{version}/infer", self._infer)
        app.router.add_post("/{behaviour}/v1/chat/completions", self._chat)
        app.router.add_get("/calls", self._calls)
        self._runner = web.AppRunner(app, access_log=None, shutdown_timeout=1.0)
        await self._runner.setup()
        await web.TCPSite(self._runner, "127.0.0.1", self._port).start()
        self._port = int(self._runner.addresses[0][1])
        return self

    async def __aexit__(self, *_: object) -> None:
        self._ended.set()
        assert self._runner is not None
        await self._runner.cleanup()

    @property
    def address(self) -> str:
        """Where it listens."""
        return f"http://127.0.0.1:{self._port}"

    def url(self, behaviour: str) -> str:
        """Return the address under which it behaves so."""
        assert behaviour in {**BEHAVIOURS, **FAULTS}, behaviour
        return f"{self.address}/{behaviour}"

    async def _calls(self, request: web.Request) -> web.Response:
        del request
        return web.json_response(dict(self.behaviours.calls))

    async def _infer(self, request: web.Request) -> web.StreamResponse:
        return await self._respond(request, self._inferred)

    async def _chat(self, request: web.Request) -> web.StreamResponse:
        return await self._respond(request, self._completed)

    async def _respond(self, request: web.Request, answer: _Answer) -> web.StreamResponse:
        behaviour = request.match_info["behaviour"]
        if behaviour not in BEHAVIOURS and behaviour not in FAULTS:
            raise web.HTTPNotFound(text=f"no behaviour {behaviour}")
        self.behaviours.calls[behaviour] += 1
        if self._delay_s:
            await asyncio.sleep(self._delay_s)
        body = orjson.dumps(await answer(behaviour, request))
        return await self._sent(behaviour, request, body)

    async def _sent(self, behaviour: str, request: web.Request, body: bytes) -> web.StreamResponse:
        match behaviour:
            case "hangs":
                await self._ended.wait()
            case "drips":
                return await self._endless(request, b" ", _DRIP_S)
            case "floods":
                return await self._endless(request, _FLOOD, 0.0)
            case _:
                pass
        there = {"Location": str(request.rel_url).replace("redirects", "honest", 1)}
        said: dict[str, web.Response] = {
            "fails_after_work": web.Response(status=500, text="broke"),
            "limits": web.Response(status=429, headers={"Retry-After": _RETRY_AFTER_S}),
            "redirects": web.Response(status=307, headers=there),
            "mistypes": web.Response(body=body, content_type="text/html"),
            "truncates": web.Response(body=body[: len(body) // 2], content_type=_JSON),
        }
        return said.get(behaviour) or web.Response(body=body, content_type=_JSON)

    async def _endless(
        self, request: web.Request, piece: bytes, pause_s: float
    ) -> web.StreamResponse:
        response = web.StreamResponse(headers={"Content-Type": _JSON})
        await response.prepare(request)
        while not self._ended.is_set():
            await response.write(piece)
            await asyncio.sleep(pause_s)
        return response

    async def _inferred(self, behaviour: str, request: web.Request) -> dict[str, Any]:
        asked = orjson.loads(await request.read())["inputs"][0]
        rows, width = asked["shape"]
        data: list[float] = asked["data"]
        given = [data[row * width : (row + 1) * width] for row in range(rows)]
        scores: list[float | None] = [*self.behaviours.scores(behaviour, given)]
        if behaviour == "not_a_number":
            scores[0] = None
        if behaviour == "loses_rows":
            scores = scores[1:]
        output = {"name": "score", "datatype": "FP64", "shape": [len(scores)], "data": scores}
        if behaviour == "misfits":
            output = {"name": "score", "datatype": "BYTES", "shape": [1], "data": ["high"]}
        version = request.match_info.get("version", "1")
        name = request.match_info["name"]
        return {"model_name": name, "model_version": version, "outputs": [output]}

    async def _completed(self, behaviour: str, request: web.Request) -> dict[str, Any]:
        asked = await request.read()
        content = orjson.loads(asked)["messages"][-1]["content"]
        text = self.behaviours.verdict(behaviour, content)
        if behaviour == "misfits":
            text = orjson.dumps({"score": "high"}).decode()
        if behaviour == "not_a_number":
            text = text.replace('"score":', '"score":null,"was":')
        message = {"role": "assistant", "content": text}
        choices = [{"index": 0, "message": message, "finish_reason": "stop"}]
        reply: dict[str, Any] = {"id": "chat", "object": "chat.completion", "model": "fake"}
        reply["choices"] = choices[1:] if behaviour == "loses_rows" else choices
        if behaviour != "unmetered":
            reply["usage"] = self.behaviours.usage(behaviour, len(content), len(text))
        return reply
