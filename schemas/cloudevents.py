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
    "SPECVERSION",
    "STRUCTURED_TYPE",
    "Envelope",
    "identity",
    "looks_structured",
    "read_structured",
    "unwrap",
]

SPECVERSION: Final = "1.0"
STRUCTURED_TYPE: Final = "application/cloudevents+json"
#: How long the text of an attribute may be.
ATTRIBUTE_LENGTH_MAX: Final = 1024

_Content = Literal["structured", "json", "other"]
_CONTENT_TYPE: Final = re.compile(r"\s*([^;\s]*)\s*(?:;\s*(?:charset=\"?utf-?8\"?\s*;?)?)?\s*")
_JSON_TYPE: Final = re.compile(r"(application|text)/([a-z0-9._-]+\+)?json")
_SPACE: Final = re.compile(r"[\x00-\x20\x7f]")
_TENANT: Final = re.compile(r"[A-Za-z0-9._:@-]{1,64}")
_TRACEPARENT: Final = re.compile(r"[0-9a-f]{2}-[0-9a-f]{32}-[0-9a-f]{16}-[0-9a-f]{2}")
_REQUIRED: Final = ("id", "source", "type")


class Envelope(NamedTuple):
    """What stands around an event's data; without attributes where it came as bare JSON.

    Attributes:
        data: the JSON bytes of the data.
        id, source, type: required by CloudEvents, empty only in bare JSON.
        tenant: the extension `tenant`.
        traceparent: W3C trace context, of the record's header, else of the extension.
    """

    data: bytes
    id: str = ""
    source: str = ""
    type: str = ""
    tenant: str = DEFAULT_TENANT
    traceparent: str = ""


def identity(source: str, event_id: str) -> str:
    """Join what identifies a CloudEvent; unambiguous, for a source holds no space.

    >>> identity("/shop/tills", "4711")
    '/shop/tills 4711'
    """
    return f"{source} {event_id}"


def unwrap(value: bytes, headers: Headers) -> Envelope:
    """Tell the mode by the headers and take the data out of its envelope.

    Raises:
        RefusedEventError: the attributes, or the structured value, break CloudEvents 1.0.
    """
    attributes: dict[str, bytes] = {}
    content_type = traceparent = b""
    for name, raw in headers:
        lower = name.lower()
        if lower.startswith("ce_"):
            attributes[lower[3:]] = raw
        elif lower == "content-type":
            content_type = raw or b""
        elif lower == "traceparent":
            traceparent = raw or b""
    content = _content(content_type)
    if content == "structured":
        return read_structured(value, _trace(traceparent))
    if content == "other":
        raise _bad_content_type(content_type.decode("utf-8", "replace"), "content-type")
    if attributes:
        texts = {name: _text(name, raw) for name, raw in attributes.items()}
        return _envelope(value, texts, "ce_", _trace(traceparent))
    return Envelope(value, traceparent=_trace(traceparent))


def looks_structured(value: bytes) -> bool:
    """Say whether a value without headers may be a structured event that lost its content type."""
    return b'"specversion"' in value


def read_structured(value: bytes, traceparent: str = "") -> Envelope:
    """Read attributes and data from one JSON object.

    Raises:
        RefusedEventError: the value is not JSON, not an object, or breaks CloudEvents 1.0.
    """
    try:
        parsed: object = from_json(value)
    except ValueError as error:
        raise not_json(str(error), value) from None
    if not isinstance(parsed, dict):
        kind = shown(parsed, secret=True)
        raise RefusedEventError("not_object", f"the value must be a JSON object, but is {kind}")
    members = cast("dict[str, object]", parsed)
    texts: dict[str, str] = {}
    for name in ("specversion", *_REQUIRED, "tenant", "traceparent", "datacontenttype"):
        member = members.get(name)
        if isinstance(member, str):
            texts[name] = member
        elif member is not None:
            raise RefusedEventError("bad_attribute", f"{name} must be a text", name)
    return _envelope(_structured_data(members), texts, "", traceparent)


def _envelope(
    data: bytes, attributes: Mapping[str, str], prefix: str, traceparent: str
) -> Envelope:
    version = attributes.get("specversion")
    if version is None:
        raise _missing("specversion", prefix)
    if version != SPECVERSION:
        detail = f"CloudEvents {SPECVERSION} is read here, not version {shown(version)}"
        raise RefusedEventError("bad_specversion", detail, f"{prefix}specversion")
    for name in _REQUIRED:
        if not attributes.get(name):
            raise _missing(name, prefix)
        if len(attributes[name]) > ATTRIBUTE_LENGTH_MAX:
            raise _bad(name, prefix, f"is longer than {ATTRIBUTE_LENGTH_MAX} characters")
    if _SPACE.search(attributes["source"]):
        raise _bad("source", prefix, "must be a URI reference, without spaces")
    content_type = attributes.get("datacontenttype", "")
    if _content(content_type.encode()) != "json":
        raise _bad_content_type(content_type, f"{prefix}datacontenttype")
    tenant = attributes.get("tenant", DEFAULT_TENANT)
    if tenant != DEFAULT_TENANT and not _TENANT.fullmatch(tenant):
        raise _bad("tenant", prefix, "must be 1 to 64 letters, digits or any of ._:@-")
    return Envelope(
        data,
        attributes["id"],
        attributes["source"],
        attributes["type"],
        tenant,
        traceparent or _trace(attributes.get("traceparent", "").encode()),
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
        raise RefusedEventError("bad_data", "data_base64 is not base64", "data_base64") from None


@lru_cache(maxsize=256)
def _content(content_type: bytes) -> _Content:
    declared = _CONTENT_TYPE.fullmatch(content_type.decode("utf-8", "replace").lower())
    if declared is None:
        return "other"
    media_type: str = declared[1]
    if media_type == STRUCTURED_TYPE:
        return "structured"
    is_json = _JSON_TYPE.fullmatch(media_type) and "cloudevents" not in media_type
    return "json" if is_json or not media_type else "other"


def _text(name: str, raw: bytes) -> str:
    try:
        return (raw or b"").decode()
    except UnicodeDecodeError:
        raise _bad(name, "ce_", "is not UTF-8") from None


def _trace(traceparent: bytes) -> str:
    # A broken trace context never refuses an event: W3C asks to start a new trace instead.
    text = traceparent.decode("ascii", "replace")
    return text if _TRACEPARENT.fullmatch(text) else ""


def _missing(name: str, prefix: str) -> RefusedEventError:
    detail = f"the CloudEvents attribute {prefix}{name} is missing or empty"
    return RefusedEventError("missing_attribute", detail, f"{prefix}{name}")


def _bad(name: str, prefix: str, why: str) -> RefusedEventError:
    return RefusedEventError("bad_attribute", f"{prefix}{name} {why}", f"{prefix}{name}")


def _bad_content_type(content_type: str, path: str) -> RefusedEventError:
    detail = f"the data must be JSON in UTF-8, but {path} is {shown(content_type)}"
    return RefusedEventError("bad_content_type", detail, path)
