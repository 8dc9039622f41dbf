"""The one order of everybody whom plans ask, which is that of their answers in records."""

from collections.abc import Iterable
from graphlib import CycleError, TopologicalSorter
from itertools import chain, pairwise

from batuta.agents.delegation.plans import Node, models_of

__all__ = ["order_of"]


def order_of(plans: Iterable[Node]) -> tuple[str, ...]:
    """Return everybody whom plans ask, each before those whom a plan asks after them.

    Where two plans ask in contrary orders: as they come first in one of them.

    >>> from batuta.agents.delegation.plans import Ask, Sequence
    >>> order_of([Ask("b"), Sequence((Ask("a"), Ask("b")))])
    ('a', 'b')
    >>> order_of([Sequence((Ask("b"), Ask("a"))), Sequence((Ask("a"), Ask("b")))])
    ('b', 'a')
    """
    asked = [tuple(dict.fromkeys(models_of(plan))) for plan in plans]
    before: dict[str, list[str]] = {name: [] for names in asked for name in names}
    for earlier, later in chain.from_iterable(map(pairwise, asked)):
        before[later].append(earlier)
    try:
        return tuple(TopologicalSorter(before).static_order())
    except CycleError:
        return tuple(before)
