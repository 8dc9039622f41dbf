"""CloudEvents 1.0 on Kafka: the attributes around the data, in binary and structured mode.

Binary mode: the value is the data, attributes are `ce_*` headers, `content-type` is the data's.
Structured mode: `content-type: application/cloudevents+json`, the value holds attributes and data.

Source: CloudEvents 1.0.2, its JSON format and its Kafka protocol binding.
"""

import re
from base64 import b64decode
from collections.abc import Mapping
from functools import lru_cache
from typing import Final, Literal, NamedTuple, cast

from pydantic_core import from_json, to_json

from batuta.schemas.errors import RefusedEventError
from batuta.schemas.event import DEFAULT_TENANT
from batuta.schemas.record import Headers
from batuta.schemas.refusals import not_json, shown

__all__ = [
    "NO_ATTRIBUTES",
    "SPECVERSION",
    "STRUCTURED_TYPE",
    "Attributes",
    "identity",
    "looks_structured",
    "read_structured",
    "unwrap",
]

SPECVERSION: Final = "1.0"
STRUCTURED_TYPE: Final = "application/cloudevents+json"
#: How long an attribute may be, in bytes.
ATTRIBUTE_BYTES_MAX: Final = 1024

_Content = Literal["structured", "json", "other"]
_CONTENT_TYPE: Final = re.compile(r'\s*([^;\s]*)\s*(?:;\s*(?:charset="?utf-?8"?\s*;?)?)?\s*')
_JSON_TYPE: Final = re.compile(r"(application|text)/([a-z0-9._-]+\+)?json")
_SPACE: Final = re.compile(r"[\x00-\x20\x7f]")
_TENANT: Final = re.compile(r"[A-Za-z0-9._:@-]{1,64}")
_TRACEPARENT: Final = re.compile(r"[0-9a-f]{2}-[0-9a-f]{32}-[0-9a-f]{16}-[0-9a-f]{2}")
_REQUIRED: Final = ("id", "source", "type")
#: Headers that producers repeat from record to record, read once per combination.
_REPEATED: Final = frozenset(
    ("ce_specversion", "ce_source", "ce_type", "ce_tenant", "ce_datacontenttype", "content-type")
)
_READ: Final = _REPEATED | {"ce_id", "ce_traceparent", "traceparent"}


class Attributes(NamedTuple):
    """What stands around an event's data; all empty where it came as bare JSON.

    Attributes:
        id, source, type: required by CloudEvents.
        tenant: the extension `tenant`.
        traceparent: W3C trace context, of the record's header, else of the extension.
    """

    id: str = ""
    source: str = ""
    type: str = ""
    tenant: str = DEFAULT_TENANT
    traceparent: str = ""


NO_ATTRIBUTES: Final = Attributes()


class _Repeated(NamedTuple):
    structured: bool
    source: str
    type: str
    tenant: str


def identity(source: str, event_id: str) -> str:
    """Join what identifies a CloudEvent; unambiguous, for a source holds no space.

    >>> identity("/shop/tills", "4711")
    '/shop/tills 4711'
    """
    return f"{source} {event_id}"


def unwrap(value: bytes, headers: Headers) -> tuple[bytes, Attributes]:
    """Tell the mode by the headers and take the data out of its envelope.

    Returns:
        The JSON bytes of the data, and the attributes.

    Raises:
        RefusedEventError: the attributes, or the structured value, break CloudEvents 1.0.
    """
    repeated: list[tuple[str, bytes]] = []
    single: dict[str, bytes] = {}
    binary = False
    for name, raw in headers:
        known = name if name in _READ else name.lower()
        if known in _REPEATED:
            repeated.append((known, _bounded(known, raw)))
        elif known in _READ:
            single[known] = raw
        binary = binary or known.startswith("ce_")
    trace = _trace(single.get("traceparent") or single.get("ce_traceparent"))
    structured, source, kind, tenant = _repeated(tuple(repeated), binary=binary)
    if structured:
        return read_structured(value, trace)
    if not binary:
        return value, NO_ATTRIBUTES._replace(traceparent=trace) if trace else NO_ATTRIBUTES
    event_id = _text("ce_id", _bounded("ce_id", single.get("ce_id")))
    if not event_id:
        raise _missing("ce_id")
    return value, Attributes(event_id, source, kind, tenant, trace)


def looks_structured(value: bytes) -> bool:
    """Say whether a value may be a structured event whose content type got lost."""
    return b'"specversion"' in value


def read_structured(value: bytes, traceparent: str = "") -> tuple[bytes, Attributes]:
    """Read data and attributes from one JSON object.

    Raises:
        RefusedEventError: the value is not JSON, not an object, or breaks CloudEvents 1.0.
    """
    try:
        parsed: object = from_json(value)
    except ValueError as error:
        refusal = not_json(str(error), value)
    else:
        if isinstance(parsed, dict):
            return _structured(cast("dict[str, object]", parsed), traceparent)
        kind = shown(parsed, secret=True)
        refusal = RefusedEventError("not_object", f"the value must be a JSON object, but is {kind}")
    raise refusal


def _structured(members: Mapping[str, object], traceparent: str) -> tuple[bytes, Attributes]:
    texts: dict[str, str] = {}
    for name in ("specversion", *_REQUIRED, "tenant", "traceparent", "datacontenttype"):
        member = members.get(name)
        if isinstance(member, str):
            texts[name] = member
        elif member is not None:
            raise _bad(name, f"must be a text, but is {shown(member)}")
    _check(texts, "", _REQUIRED)
    return _structured_data(members), Attributes(
        texts["id"],
        texts["source"],
        texts["type"],
        texts.get("tenant", DEFAULT_TENANT),
        traceparent or _trace(texts.get("traceparent", "").encode()),
    )


def _structured_data(members: Mapping[str, object]) -> bytes:
    data, encoded = members.get("data"), members.get("data_base64")
    if data is not None and encoded is not None:
        raise RefusedEventError("bad_data", "data and data_base64 exclude each other", "data")
    if encoded is None:
        if data is None:
            raise RefusedEventError("bad_data", "the event carries no data", "data")
        return to_json(data, inf_nan_mode="constants")
    try:
        return b64decode(encoded if isinstance(encoded, str) else "-", validate=True)
    except ValueError:
        refusal = RefusedEventError("bad_data", "data_base64 is not base64", "data_base64")
    raise refusal


@lru_cache(maxsize=256)
def _repeated(headers: Headers, *, binary: bool) -> _Repeated:
    texts = {name.removeprefix("ce_"): _text(name, raw) for name, raw in headers}
    content_type = texts.pop("content-type", "")
    content = _content(content_type)
    if content == "structured":
        return _Repeated(structured=True, source="", type="", tenant=DEFAULT_TENANT)
    if content == "other":
        raise _bad_content_type(content_type, "content-type")
    if binary:
        _check(texts, "ce_", ("source", "type"))
    tenant = texts.get("tenant", DEFAULT_TENANT)
    return _Repeated(False, texts.get("source", ""), texts.get("type", ""), tenant)


def _check(attributes: Mapping[str, str], prefix: str, required: tuple[str, ...]) -> None:
    version = attributes.get("specversion")
    if version is None:
        raise _missing(f"{prefix}specversion")
    if version != SPECVERSION:
        detail = f"CloudEvents {SPECVERSION} is read here, but specversion is {shown(version)}"
        raise RefusedEventError("bad_specversion", detail, f"{prefix}specversion")
    for name in required:
        if not attributes.get(name):
            raise _missing(prefix + name)
        _bounded(prefix + name, attributes[name].encode())
    if _SPACE.search(attributes["source"]):
        raise _bad(f"{prefix}source", "must be a URI reference, without spaces")
    content_type = attributes.get("datacontenttype", "")
    if _content(content_type) != "json":
        raise _bad_content_type(content_type, f"{prefix}datacontenttype")
    if not _TENANT.fullmatch(attributes.get("tenant", DEFAULT_TENANT)):
        raise _bad(f"{prefix}tenant", "must be 1 to 64 letters, digits or any of ._:@-")


def _content(content_type: str) -> _Content:
    declared = _CONTENT_TYPE.fullmatch(content_type.lower())
    if declared is None:
        return "other"
    media_type: str = declared[1]
    if media_type == STRUCTURED_TYPE:
        return "structured"
    is_json = _JSON_TYPE.fullmatch(media_type) and "cloudevents" not in media_type
    return "json" if is_json or not media_type else "other"


def _bounded(name: str, raw: bytes | None) -> bytes:
    # Some clients hand a header without a value over as None.
    if raw and len(raw) > ATTRIBUTE_BYTES_MAX:
        raise _bad(name, f"has {len(raw)} bytes, more than {ATTRIBUTE_BYTES_MAX}")
    return raw or b""


def _text(name: str, raw: bytes) -> str:
    try:
        return raw.decode()
    except UnicodeDecodeError:
        refusal = _bad(name, "is not UTF-8")
    raise refusal


def _trace(traceparent: bytes | None) -> str:
    # A broken trace context never refuses an event: W3C asks to start a new trace instead.
    if not traceparent:
        return ""
    text = traceparent.decode("ascii", "replace")
    return text if _TRACEPARENT.fullmatch(text) else ""


def _missing(name: str) -> RefusedEventError:
    detail = f"the CloudEvents attribute {name} is missing or empty"
    return RefusedEventError("missing_attribute", detail, name)


def _bad(name: str, why: str) -> RefusedEventError:
    return RefusedEventError("bad_attribute", f"{name} {why}", name)


def _bad_content_type(content_type: str, path: str) -> RefusedEventError:
    detail = f"the data must be JSON in UTF-8, but {path} is {shown(content_type)}"
    return RefusedEventError("bad_content_type", detail, path)
