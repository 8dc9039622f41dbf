"""All groups, and what of them is noted before it counts."""

from __future__ import annotations

from typing import TYPE_CHECKING

import structlog

from batuta.streams.broker.codes import Code
from batuta.streams.broker.disk import DiskError
from batuta.streams.broker.group import Group, GroupState
from batuta.streams.broker.group_entries import (
    group_entry,
    offsets_entry,
    offsets_of,
    restore_group,
)
from batuta.streams.broker.journal_entries import (
    GroupKept,
    GroupRemoved,
    OffsetsCommitted,
    OffsetsRemoved,
)

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from batuta.streams.broker.group import CommittedOffset, PartitionKey
    from batuta.streams.broker.journal import Journal

__all__ = ["KeptGroups"]

_log = structlog.get_logger(__name__)


class KeptGroups:
    """The groups by their ids, with the offsets they committed."""

    def __init__(self, journal: Journal) -> None:
        self._journal = journal
        self._groups: dict[str, Group] = {}

    def __iter__(self) -> Iterator[Group]:
        return iter(self._groups.values())

    def get(self, group_id: str) -> Group | None:
        """The group of that id."""
        return self._groups.get(group_id)

    def get_or_create(self, group_id: str) -> Group:
        """The group of that id, a new one if need be."""
        return self._groups.setdefault(group_id, Group(group_id))

    def delete(self, group_id: str) -> Code:
        """Remove a group without members, with its offsets."""
        group = self._groups.get(group_id)
        if group is None:
            return Code.GROUP_ID_NOT_FOUND
        if not group.is_in(GroupState.EMPTY, GroupState.DEAD):
            return Code.NON_EMPTY_GROUP
        try:
            self._journal.append(GroupRemoved(group_id))
        except DiskError:
            return Code.NOT_COORDINATOR
        del self._groups[group_id]
        return Code.NONE

    def commit(
        self, group_id: str, offsets: dict[PartitionKey, CommittedOffset], producer_id: int = -1
    ) -> bool:
        """Note how far a group has read, or will have if a producer's transaction commits.

        Returns:
            Whether it could be noted; if not, nothing has changed.
        """
        try:
            self._journal.append(offsets_entry(group_id, offsets, producer_id))
        except DiskError as refusal:
            _log.info("offsets_not_noted", group=group_id, reason=str(refusal))
            return False
        self._store(group_id, offsets, producer_id)
        return True

    def _store(
        self, group_id: str, offsets: dict[PartitionKey, CommittedOffset], producer_id: int
    ) -> None:
        group = self.get_or_create(group_id)
        pending = group.pending_offsets
        target = group.offsets if producer_id < 0 else pending.setdefault(producer_id, {})
        target.update(offsets)

    def settle(self, group_ids: Iterable[str], producer_id: int, *, commit: bool) -> None:
        """Let the offsets of a transaction count, or drop them; its end has been noted."""
        for group_id in group_ids:
            group = self.get_or_create(group_id)
            offsets = group.pending_offsets.pop(producer_id, {})
            if commit:
                group.offsets.update(offsets)

    def remove_offsets(self, group: Group, keys: list[PartitionKey]) -> bool:
        """Forget how far a group has read; whether that could be noted."""
        try:
            self._journal.append(OffsetsRemoved(group.group_id, keys))
        except DiskError as refusal:
            _log.info("offsets_not_noted", group=group.group_id, reason=str(refusal))
            return False
        for key in keys:
            group.offsets.pop(key, None)
        return True

    def forget_topic(self, name: str) -> None:
        """Drop the offsets of a topic that was deleted."""
        for group in self:
            group.forget_topic(name)

    def keep(self, kept: GroupKept | GroupRemoved | OffsetsCommitted | OffsetsRemoved) -> None:
        """Let a group be as it was noted."""
        match kept:
            case GroupKept():
                restore_group(self.get_or_create(kept.group_id), kept)
            case GroupRemoved():
                self._groups.pop(kept.group_id, None)
            case OffsetsCommitted():
                self._store(kept.group_id, offsets_of(kept), kept.producer_id)
            case OffsetsRemoved():
                for name, number in kept.partitions:
                    self.get_or_create(kept.group_id).offsets.pop((name, number), None)

    def note(self, group: Group) -> None:
        """Note what a group agreed on; without it, its members have to join again after a restart.

        They do so by themselves, which is why a disk that refuses does not stop the group.
        """
        try:
            self._journal.append(group_entry(group))
        except DiskError as refusal:
            _log.info("group_not_noted", group=group.group_id, reason=str(refusal))
