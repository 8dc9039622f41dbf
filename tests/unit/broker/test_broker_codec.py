from __future__ import annotations

import dataclasses
import types
import typing
from io import BytesIO

import pytest
from aiokafka.protocol import (
    admin,
    commit,
    coordination,
    fetch,
    group,
    metadata,
    offset,
    produce,
    transaction,
)
from aiokafka.protocol.api import RequestStruct, Response
from hypothesis import given
from hypothesis import strategies as st

from batuta.streams.broker.api import APIS, Api
from batuta.streams.broker.codec import Codec, MalformedRequestError, Versions

MODULES = (admin, commit, coordination, fetch, group, metadata, offset, produce, transaction)

EVERY_VERSION = [
    pytest.param(api, version, id=f"{api.name}-{version}")
    for api in APIS.values()
    for version in range(api.versions[0], api.versions[1] + 1)
]


def filled(hint: object, seed: int) -> object:
    """A value of a field's type that no default has."""
    if typing.get_origin(hint) is typing.Annotated:
        hint = typing.get_args(hint)[0]
        if hint is bytes:
            return b"bytes %d" % seed
    if isinstance(hint, types.UnionType):
        hint = typing.get_args(hint)[0]
    if typing.get_origin(hint) is tuple:
        item = typing.get_args(hint)[0]
        return (filled(item, seed + 1), filled(item, seed + 2))
    if dataclasses.is_dataclass(hint):
        return sample(typing.cast("type[object]", hint), seed)
    simple = {int: seed % 100 + 3, str: f"text {seed}", bytes: b"raw %d" % seed, bool: True}
    return simple[typing.cast("type", hint)]


def sample(message: type[object], seed: int = 1) -> object:
    """A message with every field filled."""
    hints = typing.get_type_hints(message, include_extras=True)
    values = {name: filled(hint, seed + place) for place, (name, hint) in enumerate(hints.items())}
    ids = {name: bytes(range(seed % 7, seed % 7 + 16)) for name in hints if name == "topic_id"}
    return message(**values | ids)


def encode(codec: Codec[object], message: object) -> bytes:
    chunks: list[bytes] = []
    codec.write(message, chunks)
    return b"".join(chunks)


@pytest.mark.parametrize(("api", "version"), EVERY_VERSION)
def test_every_version_comes_back_to_the_same_bytes(api: Api, version: int) -> None:
    for codec, message in (
        (api.request_codec(version), sample(api.request)),
        (api.response_codec(version), sample(api.response)),
    ):
        data = encode(codec, message)
        buffer = BytesIO(data)
        decoded = codec.decode(buffer)
        assert buffer.read() == b""
        assert encode(codec, decoded) == data


def aiokafka_structs() -> dict[tuple[int, int, bool], type[typing.Any]]:
    """aiokafka's own declarations, by API, version and direction."""
    found: dict[tuple[int, int, bool], type[typing.Any]] = {}
    for module in MODULES:
        for name, thing in vars(module).items():
            if not isinstance(thing, type) or not name.rpartition("_v")[2].isdigit():
                continue
            version = int(name.rpartition("_v")[2])
            if issubclass(thing, RequestStruct | Response):
                key = typing.cast("int", thing.API_KEY)
                found[key, version, issubclass(thing, RequestStruct)] = thing
    return found


STRUCTS = aiokafka_structs()
#: aiokafka 0.14 declares an eight-byte leader epoch here; Apache Kafka's has four bytes.
WRONG_IN_AIOKAFKA = {(2, 4, True), (2, 5, True)}
SHARED = [
    pytest.param(api, version, is_request, id=f"{api.name}-{version}-{is_request}")
    for api in APIS.values()
    for version in range(api.versions[0], api.versions[1] + 1)
    for is_request in (True, False)
    if (api.key, version, is_request) in STRUCTS.keys() - WRONG_IN_AIOKAFKA
]


def test_aiokafka_knows_enough_versions_to_be_an_oracle() -> None:
    assert len(SHARED) > 80


@pytest.mark.parametrize(("api", "version", "is_request"), SHARED)
def test_aiokafka_reads_what_we_write(
    api: Api,
    version: int,
    is_request: bool,  # noqa: FBT001 - a parameter of the test
) -> None:
    struct = STRUCTS[api.key, version, is_request]
    codec = api.request_codec(version) if is_request else api.response_codec(version)
    data = encode(codec, sample(api.request if is_request else api.response))
    buffer = BytesIO(data)
    assert struct.decode(buffer).encode() == data
    assert buffer.read() == b""


def messages(root: type[object]) -> set[type[object]]:
    """A message and the messages inside it."""
    found = {root}
    for hint in typing.get_type_hints(root).values():
        for part in (hint, *typing.get_args(hint)):
            inner = (part, *typing.get_args(part))
            found |= {
                m
                for i in inner
                if isinstance(i, type) and dataclasses.is_dataclass(i)
                for m in messages(i)
            }
    return found


@pytest.mark.parametrize("api", APIS.values(), ids=lambda api: api.name)
def test_fields_that_may_be_missing_have_a_default(api: Api) -> None:
    for message in messages(api.request) | messages(api.response):
        hints = typing.get_type_hints(message, include_extras=True)
        assert dataclasses.is_dataclass(message)
        for field in dataclasses.fields(message):
            extras = getattr(hints[field.name], "__metadata__", ())
            versions = next((extra for extra in extras if isinstance(extra, Versions)), None)
            if versions is not None:
                assert field.default is not dataclasses.MISSING, (message, field.name)


@pytest.mark.parametrize(("api", "version"), EVERY_VERSION)
def test_a_request_cut_short_is_malformed(api: Api, version: int) -> None:
    codec = api.request_codec(version)
    data = encode(codec, sample(api.request))
    if data:
        with pytest.raises(MalformedRequestError):
            codec.decode(BytesIO(data[:-1]))


@given(data=st.binary(max_size=60), key=st.sampled_from(sorted(APIS)))
def test_garbage_is_malformed_or_a_message_but_never_a_crash(data: bytes, key: int) -> None:
    api = APIS[key]
    for version in api.versions:
        try:
            message = api.request_codec(version).decode(BytesIO(data))
        except MalformedRequestError:
            continue
        assert isinstance(message, api.request)
