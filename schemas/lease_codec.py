"""Leases between bytes and values; internal, so compact.

Each body names its `kind`: requests and changes of limits come on one topic, and what was refused
comes back on one redrive topic, whatever it was.
"""

from collections.abc import Sequence
from typing import Annotated, Literal

import orjson
from pydantic import BaseModel, ConfigDict, Field

from batuta.schemas.label_codec import kind_of
from batuta.schemas.lease import (
    LEASE_VERSION,
    ClosedLease,
    LeaseGrant,
    LeaseRequest,
    LimitChange,
)
from batuta.schemas.message_reading import Messages, read_all, read_message
from batuta.schemas.record import Output, Record

__all__ = [
    "LeaseRequestWire",
    "decode_budgeting",
    "encode_lease_grant",
    "encode_lease_request",
    "encode_limit_change",
    "read_grant",
]

Text = Annotated[str, Field(min_length=1)]
Amount = Annotated[int, Field(ge=0)]


class _Wire(BaseModel):
    model_config = ConfigDict(extra="ignore", strict=True)

    version: Annotated[int, Field(ge=1, le=1)]


class LeaseRequestWire(_Wire):
    """A request on `.leases`."""

    kind: Literal["request"]
    budget: Text
    lane: Amount
    number: Annotated[int, Field(ge=1)]
    wanted_nano: Amount
    needed_nano: Amount
    closed: Annotated[
        tuple[Annotated[tuple[int, Amount], Field(strict=False)], ...], Field(strict=False)
    ]


class _LimitWire(_Wire):
    kind: Literal["limit"]
    budget: Text
    limit_nano: Amount | None
    set_at_ms: Amount = 0


class _GrantWire(_Wire):
    kind: Literal["grant"]
    budget: Text
    lane: Amount
    number: Annotated[int, Field(ge=1)]
    granted_nano: Amount
    until_ms: int
    rung: str
    used_nano: Amount
    limit_nano: Amount


def encode_lease_request(request: LeaseRequest, topic: str) -> Output:
    """Write a request, keyed by its budget."""
    body = {"version": LEASE_VERSION, "kind": "request", **request._asdict()}
    body["closed"] = [tuple(lease) for lease in request.closed]
    return Output(topic, request.budget.encode(), orjson.dumps(body))


def encode_limit_change(change: LimitChange, topic: str) -> Output:
    """Write a change of a limit, keyed by its budget."""
    body = {"version": LEASE_VERSION, "kind": "limit", **change._asdict()}
    if not change.set_at_ms:
        del body["set_at_ms"]
    return Output(topic, change.budget.encode(), orjson.dumps(body))


def encode_lease_grant(grant: LeaseGrant, topic: str) -> Output:
    """Write an answer to the partition of the lane that asked."""
    body = {"version": LEASE_VERSION, "kind": "grant", **grant._asdict()}
    return Output(topic, grant.budget.encode(), orjson.dumps(body), (), grant.lane)


def decode_budgeting(
    records: Sequence[Record], _now_ms: int = 0
) -> Messages[LeaseRequest | LimitChange]:
    """Read a batch of what the owner of budgets hears; what is neither is refused."""
    return read_all(_read_either, records)


def read_grant(record: Record) -> LeaseGrant:
    """Read one answer.

    Raises:
        RefusedEventError: it is none of a version known here.
    """
    wire = read_message(_GrantWire, record)
    return LeaseGrant(
        wire.budget,
        wire.lane,
        wire.number,
        wire.granted_nano,
        wire.until_ms,
        wire.rung,
        wire.used_nano,
        wire.limit_nano,
    )


def _read_either(record: Record) -> LeaseRequest | LimitChange:
    if kind_of(record) == "limit":
        limit = read_message(_LimitWire, record)
        return LimitChange(limit.budget, limit.limit_nano, limit.set_at_ms)
    wire = read_message(LeaseRequestWire, record)
    closed = tuple(ClosedLease(number, spent) for number, spent in wire.closed)
    return LeaseRequest(
        wire.budget, wire.lane, wire.number, wire.wanted_nano, wire.needed_nano, closed
    )
