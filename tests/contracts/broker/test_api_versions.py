from __future__ import annotations

import asyncio
import dataclasses
import types
import typing

import pytest

from batuta.streams.broker.api import APIS, Api
from batuta.streams.broker.messages_cluster import (
    ApiVersionsRequest,
    ApiVersionsResponse,
    DescribeClusterRequest,
    DescribeClusterResponse,
    MetadataRequest,
    MetadataRequestTopic,
    MetadataResponse,
)
from batuta.streams.broker.messages_groups import FindCoordinatorRequest, FindCoordinatorResponse
from batuta.streams.broker.messages_offsets import OffsetFetchRequest
from batuta.streams.broker.messages_records import ProduceRequest
from batuta.streams.broker.raw_client import RawClient, encode_request

UNSUPPORTED_VERSION = 35


async def test_every_range_we_speak_lies_within_the_brokers(raw: RawClient) -> None:
    answer = await raw.ask(ApiVersionsRequest(), ApiVersionsResponse, 2)
    ranges = {api.api_key: (api.min_version, api.max_version) for api in answer.api_keys}
    for api in APIS.values():
        first, last = ranges[api.key]
        assert first <= api.versions[0], api.name
        assert api.versions[1] <= last, api.name


async def test_lower_ends_are_equal(raw: RawClient) -> None:
    answer = await raw.ask(ApiVersionsRequest(), ApiVersionsResponse, 2)
    first = {api.api_key: api.min_version for api in answer.api_keys}
    assert {key: first[key] for key in APIS} == {k: a.advertised_since for k, a in APIS.items()}


async def test_unknown_version_of_api_versions_is_answered_in_version_0(raw: RawClient) -> None:
    api = APIS[18]
    newest = encode_request(api, ApiVersionsRequest("raw", "1"), 3)
    frame = await raw.send(newest[:2] + b"\x00\x63" + newest[4:])
    assert frame[4:6] == UNSUPPORTED_VERSION.to_bytes(2)
    assert int.from_bytes(frame[6:10]) == 1
    assert frame[10:12] == (18).to_bytes(2)


async def test_unknown_api_closes_the_connection(raw: RawClient) -> None:
    with pytest.raises(asyncio.IncompleteReadError):
        await raw.send(b"\x03\xe7\x00\x00\x00\x00\x00\x01\xff\xff")


async def test_old_produce_closes_the_connection(raw: RawClient) -> None:
    with pytest.raises(asyncio.IncompleteReadError):
        await raw.send(b"\x00\x00\x00\x02\x00\x00\x00\x01\xff\xff\x00\x01" + bytes(8))


async def test_garbage_closes_only_its_connection(raw: RawClient) -> None:
    with pytest.raises(asyncio.IncompleteReadError):
        await raw.send(b"\x00\x03\x00\x01\x00\x00\x00\x01\xff\xff\x7f\xff\xff\xff")
    assert (await raw.ask(ApiVersionsRequest(), ApiVersionsResponse, 0)).error_code == 0


def _blank(hint: object) -> object:
    """The emptiest legal value of a field."""
    if typing.get_origin(hint) is typing.Annotated:
        hint = typing.get_args(hint)[0]
    if isinstance(hint, types.UnionType):
        return None
    if typing.get_origin(hint) is tuple:
        return ()
    return {int: 0, str: "", bytes: b"", bool: False}[typing.cast("type", hint)]


def _blank_request(api: Api) -> object:
    if api.request is ProduceRequest:
        return ProduceRequest(None, 1, 1000, ())
    if api.request is MetadataRequest:
        return MetadataRequest(())
    if api.request is OffsetFetchRequest:
        return OffsetFetchRequest("nobody", (), ())
    hints = typing.get_type_hints(api.request, include_extras=True)
    assert dataclasses.is_dataclass(api.request)
    missing = [f for f in dataclasses.fields(api.request) if f.default is dataclasses.MISSING]
    return api.request(**{f.name: _blank(hints[f.name]) for f in missing})


EVERY_VERSION = [
    pytest.param(api, version, id=f"{api.name}-{version}")
    for api in APIS.values()
    for version in range(api.versions[0], api.versions[1] + 1)
]


@pytest.mark.parametrize(("api", "version"), EVERY_VERSION)
async def test_every_version_is_answered_to_the_last_byte(
    raw: RawClient, api: Api, version: int
) -> None:
    request = _blank_request(api)
    answer = await raw.ask(request, api.response, version)
    assert isinstance(answer, api.response)


@pytest.mark.parametrize("version", range(14))
async def test_metadata_names_one_node_and_an_unknown_topic(raw: RawClient, version: int) -> None:
    asked = MetadataRequest((MetadataRequestTopic(name="nobody-made-this"),), False)
    answer = await raw.ask(asked, MetadataResponse, version)
    assert [node.node_id for node in answer.brokers] == [1]
    assert [(topic.error_code, topic.name) for topic in answer.topics] == [(3, "nobody-made-this")]


async def test_metadata_refuses_an_illegal_name(raw: RawClient) -> None:
    asked = MetadataRequest((MetadataRequestTopic(name="no spaces, please"),), False)
    answer = await raw.ask(asked, MetadataResponse)
    assert [topic.error_code for topic in answer.topics] == [17]


async def test_the_cluster_describes_its_node(raw: RawClient) -> None:
    answer = await raw.ask(DescribeClusterRequest(), DescribeClusterResponse)
    assert [node.node_id for node in answer.brokers] == [1]
    assert answer.cluster_id


async def test_coordinator_of_an_unknown_kind_is_refused(raw: RawClient) -> None:
    answer = await raw.ask(FindCoordinatorRequest("x", 9), FindCoordinatorResponse, 2)
    assert answer.error_code == 42
