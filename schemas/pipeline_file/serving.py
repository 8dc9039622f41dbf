"""Models that a server answers for: the keys that such an entry under `models` has beside others.

Addresses and keys may stand in the environment: `${NAME}`. A key stands nowhere else.
"""

import re
from collections.abc import Sequence
from typing import Annotated, Any, Final

from pydantic import BaseModel, ConfigDict, Field
from pydantic_core import PydanticCustomError

from batuta.schemas.pipeline_file.guarding import GuardedEntry
from batuta.schemas.pipeline_file.quantities import (
    PROBLEM,
    Duration,
    MoneyText,
    Reference,
    TextShape,
)

__all__ = [
    "SERVED",
    "Address",
    "BatchEntry",
    "PricesEntry",
    "ServedEntry",
    "served_fault",
    "text_fault",
]

#: The adapters that call a server.
SERVED: Final = ("open-inference", "openai")
_VARIABLE: Final = r"\$\{[A-Z][A-Z0-9_]{0,127}\}"
_ADDRESS: Final = rf"^(https?://[^\s/?#@]{{1,255}}(/[^\s?#@]{{0,1000}})?|{_VARIABLE})$"
_ELSEWHERE: Final = '"${NAME}", which takes it from the environment'
#: Which adapters a key belongs to; the others know nothing to do with it.
_BELONGS: Final[dict[str, tuple[str, ...]]] = {
    "url": SERVED,
    "model": SERVED,
    "key": SERVED,
    "connections": SERVED,
    "batch": ("open-inference",),
    "tensor": ("open-inference",),
    "output": ("open-inference",),
    "served_version": ("open-inference",),
    "task": ("openai",),
    "answer": ("openai",),
    "prices": ("openai",),
    "tokens": ("openai",),
    "reads": ("openai", "python", "text"),
    "breaker": (*SERVED, "python"),
    "bulkhead": (*SERVED, "python"),
    "retry": (*SERVED, "python"),
    "hedge": SERVED,
    "use": ("python",),
    "file": ("onnx", "river", "text"),
    "sha256": ("onnx", "python", "river", "text"),
    "version": ("onnx",),
}


class _Address(TextShape):
    words = "an address"
    shape = _ADDRESS

    def _validate(self, value: object) -> Any:
        # Not repeated: an address that is refused may hold a password.
        if not isinstance(value, str) or not re.fullmatch(self.shape, value):
            said = f"is no address; write http:// or https:// and a host, no user; or {_ELSEWHERE}"
            raise PydanticCustomError(PROBLEM, "{said}", {"said": said})
        return value


class _SecretName(TextShape):
    words = "a variable"
    shape = rf"^{_VARIABLE}$"

    def _validate(self, value: object) -> Any:
        if not isinstance(value, str) or not re.fullmatch(self.shape, value):
            said = f"a secret may not stand in a file; write {_ELSEWHERE}"
            raise PydanticCustomError(PROBLEM, "{said}", {"said": said})
        return value


#: `http://` or `https://`, or `${NAME}`.
Address = Annotated[str, _Address()]
SecretName = Annotated[str, _SecretName()]
ServerName = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._:/@-]{0,127}$")]


class _Entry(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", populate_by_name=True)


class BatchEntry(_Entry):
    """When a request leaves: once it is full, or its first row has waited."""

    rows: Annotated[int, Field(strict=True, ge=1, le=65_536)] = Field(
        default=256, description="rows in one request"
    )
    window: Duration = Field(default=2, description="how long the first row waits for company")


class PricesEntry(_Entry):
    """What tokens cost."""

    input: MoneyText = Field(description="of a million tokens read")
    output: MoneyText = Field(description="of a million tokens written")


class ServedEntry(GuardedEntry):
    """The keys of a model that a server answers for."""

    url: Address | None = Field(default=None, description="where it is served, or `${NAME}`")
    model: ServerName | None = Field(default=None, description="its name there; else its name here")
    served_version: ServerName | None = Field(
        default=None, description="for `open-inference`: the version asked for"
    )
    key: SecretName | None = Field(
        default=None, description="`${NAME}`: the variable that holds the bearer token"
    )
    connections: Annotated[int, Field(strict=True, ge=1, le=4_096)] = Field(
        default=64, description="requests under way at once"
    )
    batch: BatchEntry = Field(default=BatchEntry(), description="rows travel together")
    tensor: str = Field(default="inputs", description="for `open-inference`: its input's name")
    output: str | None = Field(
        default=None,
        description="for `open-inference`: the output that is the score; else the last",
    )
    task: Annotated[str, Field(min_length=1, max_length=20_000)] | None = Field(
        default=None, description="for `openai`: what the model is to do, in words"
    )
    answer: Reference | None = Field(
        default=None, description="for `openai`: the pydantic model of an answer"
    )
    prices: PricesEntry | None = Field(default=None, description="for `openai`: of tokens")
    tokens: Annotated[int, Field(strict=True, ge=1, le=1_000_000)] = Field(
        default=512, description="for `openai`: the longest answer"
    )


def served_fault(adapter: str, entry: ServedEntry, cost: object) -> str | None:
    """Return what is wrong with an entry in view of its adapter; what to do; None if nothing."""
    for key in entry.model_fields_set:
        owners = _BELONGS.get(key, (adapter,))
        if adapter not in owners:
            return f'"{key}" belongs to adapter {" or ".join(owners)}; leave it out'
    if adapter not in SERVED:
        return None
    if entry.url is None:
        return f'an {adapter} model needs "url"; add url: "${{NAME}}", or its address'
    if adapter == "open-inference":
        if cost is None:
            return "its price is missing; add cost: 0.0008 EUR, or cost: 0 EUR if it is free"
        return None
    return _chat_fault(entry, cost)


def text_fault(adapter: str, reads: Sequence[str]) -> str | None:
    """Return what is wrong with what a classifier of texts reads; None if nothing."""
    if adapter != "text" or len(reads) == 1:
        return None
    return "a text model reads one text; add reads: [event.FIELD], or the value of a model"


def _chat_fault(entry: ServedEntry, cost: object) -> str | None:
    if entry.model is None:
        return 'an openai model needs "model"; add its name at the address'
    if entry.task is None:
        return 'an openai model needs "task"; add what it is to do, in words'
    if entry.prices is None:
        return "its price is missing; add prices: {input: 0.15 EUR, output: 0.60 EUR}"
    money = [entry.prices.input, entry.prices.output, *([cost] if cost is not None else [])]
    currencies = sorted({getattr(one, "currency", "") for one in money})
    if len(currencies) > 1:
        return f"its prices are in {' and '.join(currencies)}; keep to one currency"
    return None
