"""Masks: a message shown to people without what is about a person.

Where a model declares a field personal, only what the model knows and does not declare is shown:
a field it does not know may be a personal one misspelt, and a value that is not JSON may hold one
anywhere. A model that declares nothing personal is shown whole.
"""

from collections.abc import Mapping
from typing import Any, Final, Literal, cast, get_args, get_origin

from pydantic import BaseModel

from batuta.schemas.personal import personal_fields
from batuta.schemas.record import Headers
from batuta.schemas.refusals import shown

__all__ = ["Mask", "hidden"]

#: What a model says of a path: nothing, one value, another model, or whatever there may be.
_Kind = Literal["unknown", "leaf", "nested", "open"]
_ANYTHING: Final[tuple[object, ...]] = (object, Any, dict, Mapping)
#: Headers that say how a message travels, never whom it is about.
_PLAIN_HEADERS: Final = frozenset(
    ("ce_specversion", "ce_type", "ce_source", "ce_id", "ce_time", "ce_tenant")
) | {"ce_datacontenttype", "ce_traceparent", "content-type", "traceparent", "tracestate"}
_OUR_HEADERS: Final = "batuta-"
#: The members of a structured CloudEvent beside its data that are shown.
_ENVELOPE: Final = frozenset(
    ("specversion", "id", "source", "type", "time", "tenant", "datacontenttype", "traceparent")
)


class Mask:
    """Hides what a message's model declares personal, and what it does not know.

    Args:
        model: the message's JSON.
        personal: paths that are personal beside those the model declares.
        data: the model of its member `data`, where that is another message.
        key: whether the record's key is personal.
        careful: whether to hide what the model does not know although it declares nothing personal.

    >>> from pydantic import create_model, Field
    >>> owner = (str, Field(json_schema_extra={"personal": True}))
    >>> Order = create_model("Order", owner=owner, price=(float, ...))
    >>> Mask(Order).value({"owner": "Ada", "price": 12.5, "Owner": "A"})
    {'owner': '<a text of 3 characters>', 'price': 12.5, 'Owner': '<a text of 1 characters>'}
    """

    def __init__(
        self,
        model: type[BaseModel],
        personal: frozenset[str] = frozenset(),
        data: type[BaseModel] | None = None,
        *,
        key: bool = False,
        careful: bool = False,
    ) -> None:
        self._personal = personal_fields(model) | personal
        self._known = _known(model, "")
        if data is not None:
            self._personal |= {f"data/{path}" for path in personal_fields(data)}
            self._known |= {"data": "nested", **_known(data, "data/")}
        self._key = key
        self._careful = careful

    @property
    def hides(self) -> bool:
        """Whether anything is hidden at all."""
        return self._careful or bool(self._personal)

    def value(self, value: object, path: tuple[str, ...] = ()) -> object:
        """Return a JSON value with what is personal replaced by its kind and length.

        Args:
            value: what stands at `path` of the message.
            path: names alone; within a list, the list's.
        """
        if not self.hides:
            return value
        kind = self._kind(path)
        if kind == "open":
            return value
        if isinstance(value, list) and kind != "unknown":
            return [self.value(one, path) for one in cast("list[object]", value)]
        if isinstance(value, dict) and kind == "nested":
            members = cast("dict[str, object]", value)
            return {name: self.value(member, (*path, name)) for name, member in members.items()}
        return value if kind == "leaf" and not isinstance(value, dict) else hidden(value)

    def envelope(self, members: Mapping[str, object]) -> dict[str, object]:
        """Return a structured CloudEvent, its data masked."""
        if not self.hides:
            return dict(members)
        return {
            name: self.value(member)
            if name == "data"
            else member
            if name in _ENVELOPE
            else hidden(member)
            for name, member in members.items()
        }

    def key(self, key: str | None) -> str | None:
        """Return a record's key, or what it is like."""
        return hidden(key) if self._key and key is not None else key

    def headers(self, headers: Headers) -> dict[str, str]:
        """Return headers as text; what is not known to be plain is hidden."""
        texts = {name: (raw or b"").decode("utf-8", "backslashreplace") for name, raw in headers}
        if not self.hides:
            return texts
        return {name: self.header(name, text) for name, text in texts.items()}

    def header(self, name: str, text: str) -> str:
        """Return one header's text, or what it is like."""
        plain = name in _PLAIN_HEADERS or name.startswith(_OUR_HEADERS)
        return text if plain or not self.hides else hidden(text)

    def _kind(self, path: tuple[str, ...]) -> "_Kind":
        """Return what a model knows of what stands at `path`; personal is as good as unknown."""
        kind: _Kind = "nested"
        for length in range(1, len(path) + 1):
            name = "/".join(path[:length])
            kind = "unknown" if name in self._personal else self._known.get(name, "unknown")
            if kind in {"unknown", "open"}:
                return kind
        return kind


def hidden(value: object) -> str:
    """Return what stands for a value that is not shown.

    >>> hidden("c3774")
    '<a text of 5 characters>'
    """
    return f"<{shown(value, secret=True)}>"


def _known(model: type[BaseModel], prefix: str) -> dict[str, _Kind]:
    """Return the paths a model knows, and of each what may stand there."""
    paths: dict[str, _Kind] = {}
    for name, declared in model.model_fields.items():
        path = prefix + (declared.alias or name)
        nested = _models(declared.annotation)
        free = _holds_anything(declared.annotation)
        paths[path] = "nested" if nested else "open" if free else "leaf"
        for one in nested:
            if one is not model:
                paths |= _known(one, f"{path}/")
    return paths


def _models(annotation: object) -> list[type[BaseModel]]:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return [annotation]
    return [model for part in get_args(annotation) for model in _models(part)]


def _holds_anything(annotation: object) -> bool:
    if any(annotation is one or get_origin(annotation) is one for one in _ANYTHING):
        return True
    return any(_holds_anything(part) for part in get_args(annotation))
