"""The re-keying agent: what users say of events, under the ids of these.

Feedback comes under any key, over any number of partitions, with fields that the pipeline names; it
goes on as labels, keyed by us, so that a label and its event meet in one lane of learning. A label
is read by the very door that reads events: its id is that of its event.
"""

from collections.abc import Iterable, Iterator
from typing import TypeVar

from pydantic import BaseModel

from batuta.schemas.event import Event
from batuta.schemas.labels import Label

__all__ = ["labels_of"]

DataT = TypeVar("DataT", bound=BaseModel)


def labels_of(feedback: Iterable[Event[DataT]], of: str) -> Iterator[Label]:
    """Yield the labels that pieces of feedback are, in order.

    Args:
        feedback: as decoded.
        of: the field that is the label.
    """
    for said in feedback:
        yield Label(said.id, said.tenant, bool(said.data.__dict__[of]), said.time_ms)
