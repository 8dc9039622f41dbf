"""Opens models that a server answers for: addresses and keys from the environment, checked."""

import re
from collections.abc import Callable, Hashable, Mapping
from dataclasses import dataclass, replace
from decimal import Decimal
from functools import partial
from typing import Final
from urllib.parse import urlsplit

from pydantic import BaseModel, SecretStr, TypeAdapter, ValidationError

from batuta.agents.compiler.faults import Faults
from batuta.agents.models.port import AnyModel
from batuta.agents.models.prices import Price, nano
from batuta.schemas.pipeline_file.entries import ModelEntry
from batuta.schemas.pipeline_file.problems import Path
from batuta.schemas.pipeline_file.reading import Document
from batuta.schemas.pipeline_file.serving import Address
from batuta.streams.adapters.chat import ChatModel, ChatPlan, Verdict
from batuta.streams.adapters.chat_scores import ChatScores
from batuta.streams.adapters.http_calls import Endpoint
from batuta.streams.adapters.micro_batches import BatchLimits
from batuta.streams.adapters.open_inference import OpenInferenceModel, OpenInferencePlan
from batuta.streams.environment import MissingVariableError, secret_of, text_of
from batuta.streams.pipelines.sharing import Shared

__all__ = ["Served", "open_served"]

_LOOPBACK: Final = re.compile(r"localhost|127\.[0-9.]+|::1")
_ADDRESSES: Final[TypeAdapter[str]] = TypeAdapter(Address)


@dataclass(frozen=True, slots=True)
class Served:
    """A model that a pipeline file says is served.

    Attributes:
        name: as the pipeline names it.
        entry: what the file says of it.
        inputs: the features it sees, or the paths it reads, in order.
        answers: the schemas of answers that the file names, by model.
    """

    name: str
    entry: ModelEntry
    inputs: tuple[str, ...]
    answers: Mapping[str, type[BaseModel]]


def open_served(document: Document, served: Served, shared: Shared) -> AnyModel:
    """Return a model that a server answers for; it is not called yet.

    Args:
        document: the pipeline file.
        served: what it says of the model.
        shared: what is open already.

    Raises:
        UsageError: a variable is not set, or holds no address; a key would travel in the open.
    """
    endpoint = _endpoint(document, served)
    opens = _inference if served.entry.adapter == "open-inference" else _chat
    peer, opened = opens(endpoint, served)
    return shared.model(peer, served.name, served.inputs, opened)


def _inference(endpoint: Endpoint, served: Served) -> tuple[Hashable, Callable[[], AnyModel]]:
    """Return what makes a model the same as another one, and what opens it."""
    entry = served.entry
    plan = OpenInferencePlan(
        name=served.name,
        inputs=served.inputs,
        served_as=entry.model or served.name,
        served_version=entry.served_version or "",
        input_name=entry.tensor,
        output=entry.output or "",
        price=price_of(entry),
        limits=BatchLimits(entry.batch.rows, entry.batch.window),
    )
    peer = (endpoint, replace(plan, name="", inputs=()), len(served.inputs))
    return peer, partial(OpenInferenceModel, endpoint, plan)


def _chat(endpoint: Endpoint, served: Served) -> tuple[Hashable, Callable[[], AnyModel]]:
    """Return the same of a chat model, which is told what its rows hold by name."""
    entry = served.entry
    assert entry.model is not None, "refused when the file was read"
    assert entry.task is not None, "refused when the file was read"
    plan = ChatPlan(
        name=served.name,
        reads=served.inputs if entry.reads else (),
        served_as=entry.model,
        task=entry.task,
        answer=served.answers.get(served.name, Verdict),
        price=price_of(entry),
        output_tokens_max=entry.tokens,
    )
    peer = (endpoint, replace(plan, name=""), served.inputs)
    if entry.reads:
        return peer, partial(ChatModel, endpoint, plan)
    return peer, partial(ChatScores, endpoint, plan, served.inputs)


def price_of(entry: ModelEntry) -> Price:
    """Return what a model costs."""
    money = [entry.cost] if entry.cost is not None else []
    prices = entry.prices
    if prices is not None:
        money.append(prices.input)
    return Price(
        currency=money[0].currency if money else "",
        answer_nano=nano(entry.cost.amount if entry.cost is not None else Decimal(0)),
        input_nano=nano(prices.input.amount) if prices is not None else 0,
        output_nano=nano(prices.output.amount) if prices is not None else 0,
    )


def _endpoint(document: Document, served: Served) -> Endpoint:
    entry, faults = served.entry, Faults(document)
    path: Path = ("models", served.name)
    url, key = "", None
    try:
        url = text_of(entry.url or "")
    except MissingVariableError as missing:
        faults.add((*path, "url"), entry.url, f"is not set; export {missing}")
    try:
        key = secret_of(entry.key)
    except MissingVariableError as missing:
        faults.add((*path, "key"), entry.key, f"is not set; export {missing}")
    if url:
        _check(url, key, (*path, "url"), entry, faults)
    faults.settle()
    return Endpoint(
        url=url.rstrip("/"),
        timeout_ms=entry.timeout,
        key=key,
        connections_max=entry.connections,
    )


def _check(url: str, key: SecretStr | None, path: Path, entry: ModelEntry, faults: Faults) -> None:
    """Note what is wrong with an address; what a variable holds is not repeated."""
    try:
        _ADDRESSES.validate_python(url)
    except ValidationError:
        what = "holds no address; write http:// or https:// and a host, no user"
        faults.add(path, entry.url, what)
        return
    parts = urlsplit(url)
    if key is not None and parts.scheme == "http" and not _LOOPBACK.fullmatch(parts.hostname or ""):
        faults.add(path, entry.url, "would carry the key in the open; write https://")
