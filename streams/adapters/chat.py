"""Language models behind an OpenAI-compatible chat endpoint, asked for structured answers.

    POST <url>/chat/completions
    {"model": ..., "messages": [the task, the row], "response_format": {"type": "json_schema", ...}}

Each row is one request. What stands in a row is data: it travels as JSON, in a message of its own
behind the task. The answer must be JSON of the schema asked for, or the row has no answer; what the
reply says it took is paid all the same, and where it does not say, the most it may have taken.
"""

import asyncio
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Annotated, Final, NamedTuple, Self, cast

import numpy as np
import orjson
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from batuta.agents.models.answers import Answers, Usage
from batuta.agents.models.prices import Price
from batuta.schemas.errors import FailureKind, ModelFailedError
from batuta.streams.adapters.http_calls import Endpoint, HttpCalls

__all__ = ["ChatModel", "ChatPlan", "ProposedPlan", "Verdict"]

_ROW_BYTES_MAX: Final = 262_144
_PATH: Final = "/chat/completions"


class Verdict(BaseModel):
    """What a chat model answers where its pipeline names no schema of its own."""

    model_config = ConfigDict(extra="forbid", strict=True)

    score: Annotated[float, Field(ge=0, le=1, description="how surely the answer is yes")]
    confidence: Annotated[float, Field(ge=0, le=1, description="how sure of this score")]
    reason: Annotated[str, Field(max_length=2_000, description="why, in a sentence")]


class ProposedPlan(BaseModel):
    """What a chat model answers that plans, where its pipeline names no schema of its own."""

    model_config = ConfigDict(extra="forbid", strict=True)

    plan: Annotated[str, Field(max_length=65_536, description="the plan, as JSON")]
    score: Annotated[float, Field(ge=0, le=1, description="how well the plan fits the event")]
    reason: Annotated[str, Field(max_length=2_000, description="why, in a sentence")]


@dataclass(frozen=True, slots=True)
class ChatPlan:
    """What a pipeline says of the model.

    Attributes:
        name: as the pipeline names it.
        reads: what stands in each row, by paths.
        served_as: the model's name at the endpoint.
        task: what it is to do, in words.
        answer: the schema of an answer; its fields `score` and `confidence` count as such, its
            field `reason`, else `text`, as the evidence.
        price: of answers and tokens.
        output_tokens_max: a longer answer is cut, and then refused.
    """

    name: str
    reads: tuple[str, ...]
    served_as: str
    task: str
    answer: type[BaseModel] = Verdict
    price: Price = field(default_factory=Price)
    output_tokens_max: int = 512


class _Row(NamedTuple):
    """What became of one row; `failed` is None where it was answered."""

    value: Mapping[str, object] | None = None
    failed: FailureKind | None = None
    said: str = ""
    retry_after_ms: int | None = None
    requests: int = 0
    input_tokens: int = 0
    output_tokens: int = 0


@dataclass
class _Bill:
    """What one call took: the stated maximum, until the reply says."""

    input_tokens: int
    output_tokens: int
    requests: int = 1
    stated: bool = False


class ChatModel:
    """A RowModel behind a chat endpoint.

    Attributes:
        name, reads: as the pipeline says.
        version: `name@` and the model's name at the endpoint.
    """

    def __init__(self, endpoint: Endpoint, plan: ChatPlan) -> None:
        self.name = plan.name
        self.version = f"{plan.name}@{plan.served_as}"
        self.reads = plan.reads
        self._plan = plan
        self._calls = HttpCalls(endpoint)
        self._turn = asyncio.Semaphore(endpoint.connections_max)
        schema = {"name": "answer", "strict": True, "schema": plan.answer.model_json_schema()}
        self._request = {
            "model": plan.served_as,
            "temperature": 0,
            "max_tokens": plan.output_tokens_max,
            "response_format": {"type": "json_schema", "json_schema": schema},
        }

    async def answer_rows(self, rows: Sequence[Mapping[str, object]]) -> Answers:
        """Return one answer per row, asked about side by side.

        Raises:
            ModelFailedError: no row at all was answered, and nothing was paid.
        """
        answered = await asyncio.gather(*(self._answer(row) for row in rows))
        if answered and not any(row.requests for row in answered):
            failed: list[tuple[FailureKind, str]] = [
                (row.failed, row.said) for row in answered if row.failed is not None
            ]
            (kind, said), _ = Counter(failed).most_common(1)[0]
            waits = [row.retry_after_ms for row in answered if row.retry_after_ms is not None]
            raise ModelFailedError(kind, said, retry_after_ms=max(waits, default=None))
        return self._answers(answered)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    async def close(self) -> None:
        """Close the connections."""
        await self._calls.close()

    async def _answer(self, row: Mapping[str, object]) -> _Row:
        content = orjson.dumps(row, default=str)
        if len(content) > _ROW_BYTES_MAX:
            return _Row(failed="refused", said=f"a row of {len(content)} bytes")
        messages = [
            {"role": "system", "content": self._plan.task},
            {"role": "user", "content": content.decode()},
        ]
        longest = len(content) + len(self._plan.task.encode()) + len(orjson.dumps(self._request))
        bill = _Bill(longest, self._plan.output_tokens_max)
        try:
            async with self._turn:
                reply = await self._calls.post(_PATH, {**self._request, "messages": messages})
            value = self._value(reply, bill)
        except ModelFailedError as error:
            if not bill.stated and error.kind in {"unavailable", "overloaded", "refused"}:
                bill = _Bill(0, 0, 0)  # there was no reply that anybody bills
            return _Row(
                None,
                error.kind,
                error.detail,
                error.retry_after_ms,
                bill.requests,
                bill.input_tokens,
                bill.output_tokens,
            )
        return _Row(value, None, "", None, 1, bill.input_tokens, bill.output_tokens)

    def _value(self, reply: dict[str, object], bill: _Bill) -> Mapping[str, object]:
        """Return the answer that a reply holds, and note what it took, answer or not.

        Raises:
            ModelFailedError: it holds none.
        """
        stated = _usage(reply)
        if stated is None:
            raise _invalid("the reply does not say how many tokens it took")
        bill.input_tokens, bill.output_tokens = stated
        bill.stated = True
        text = _text(reply)
        try:
            answer = self._plan.answer.model_validate_json(text)
        except ValidationError as error:
            first = error.errors(include_url=False, include_input=False)[0]
            where = ".".join(str(part) for part in first["loc"]) or "the answer"
            raise _invalid(f"{where}: {first['msg']}") from None
        value = answer.model_dump(mode="json")
        try:
            # An event that is parked keeps it: a whole number beyond 64 bits could not be.
            orjson.dumps(value)
        except orjson.JSONEncodeError as error:
            raise _invalid(f"the answer cannot be kept: {error}") from error
        return value

    def _answers(self, rows: Sequence[_Row]) -> Answers:
        plan, values = self._plan, [row.value or {} for row in rows]
        usage = Usage(
            sum(row.requests for row in rows),
            sum(row.input_tokens for row in rows),
            sum(row.output_tokens for row in rows),
        )
        sure = "confidence" in plan.answer.model_fields
        return Answers(
            scores=np.array([_number(value, "score") for value in values], np.float64),
            confidence=np.array([_number(value, "confidence") for value in values], np.float64)
            if sure
            else None,
            values=[row.value for row in rows],
            evidence=[str(value.get("reason") or value.get("text", "")) for value in values],
            failures={n: row.failed for n, row in enumerate(rows) if row.failed is not None},
            usage=usage,
            cost_nano=plan.price.of(usage.requests, usage.input_tokens, usage.output_tokens),
            currency=plan.price.currency,
        )


def _number(value: Mapping[str, object], name: str) -> float:
    found = value.get(name)
    return float(found) if isinstance(found, int | float) else float("nan")


def _usage(reply: dict[str, object]) -> tuple[int, int] | None:
    usage = reply.get("usage")
    if not isinstance(usage, dict):
        return None
    fields = cast("dict[str, object]", usage)
    tokens = [fields.get("prompt_tokens"), fields.get("completion_tokens")]
    counts = [n for n in tokens if isinstance(n, int) and not isinstance(n, bool) and n >= 0]
    return (counts[0], counts[1]) if len(counts) == len(tokens) else None


def _text(reply: dict[str, object]) -> str:
    """Return the text of the one choice.

    Raises:
        ModelFailedError: there is none, it was cut, or the model refused.
    """
    match reply.get("choices"):
        case [{"message": dict() as message, "finish_reason": "stop"}, *_]:
            said = cast("dict[str, object]", message)
        case [{"finish_reason": str(reason)}, *_]:
            raise _invalid(f"the answer ended because of {reason[:40]!r}, not by itself")
        case _:
            raise _invalid("the reply has no choice")
    if said.get("refusal"):
        raise ModelFailedError("refused", "the model refused to answer")
    content = said.get("content")
    if not isinstance(content, str):
        raise _invalid("the message has no text")
    return content


def _invalid(what: str) -> ModelFailedError:
    return ModelFailedError("invalid", what)
