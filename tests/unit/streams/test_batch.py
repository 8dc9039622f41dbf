"""The batch: what leaving its block says to the lane."""

from __future__ import annotations

import asyncio
import gc
import weakref
from typing import TYPE_CHECKING, Any, TypeVar

import pytest

from batuta.agents.context import Context
from batuta.schemas.errors import BatchAbandonedError, OursError, OwnershipLostError
from batuta.schemas.partition import PartitionOf
from batuta.schemas.record import Output, OutputColumns
from batuta.streams.lanes.batch import Batch, Handover, group_rows

if TYPE_CHECKING:
    from collections.abc import Coroutine

    from batuta.agents.asking import Outstanding
    from batuta.schemas.record import Headers

Work = Batch[int, None]
AnswerT = TypeVar("AnswerT")


class _Lane:
    """The batch's only one in its lane."""

    batch: Work

    def __init__(self, failure: BaseException | None) -> None:
        self.commits: list[Work] = []
        self._failure = failure

    def understood(self) -> None:
        pass

    async def ask(
        self, question: object, asking: Coroutine[Any, Any, AnswerT]
    ) -> AnswerT | Outstanding:
        del question
        return await asking

    async def commit(self) -> None:
        self.commits.append(self.batch)
        if self._failure is not None:
            raise self._failure

    def ended(self) -> None:
        assert self.batch.ended


class _Row:
    """Something a batch holds."""


def _batch(failure: BaseException | None = None) -> tuple[Work, list[Work]]:
    lane = _Lane(failure)
    lane.batch = Batch([], [1, 2], [], Context(0, 0, hash, None), lane)
    return lane.batch, lane.commits


async def test_a_clean_exit_commits_and_ends_without_error() -> None:
    batch, commits = _batch()
    async with batch:
        assert not batch.ended
    assert commits == [batch]
    assert batch.ended
    assert batch.error is None


async def test_an_exception_commits_nothing_and_the_agent_goes_on() -> None:
    batch, commits = _batch()
    bug = ZeroDivisionError()
    async with batch:
        raise bug
    assert commits == []
    assert batch.error is bug


async def test_a_commit_that_fails_is_the_lanes_to_judge() -> None:
    failure = OwnershipLostError("revoked")
    batch, _ = _batch(failure)
    async with batch:
        pass
    assert batch.error is failure


async def test_what_ends_the_process_goes_on() -> None:
    batch, commits = _batch()
    with pytest.raises(KeyboardInterrupt):
        async with batch:
            raise KeyboardInterrupt
    assert commits == []
    assert isinstance(batch.error, KeyboardInterrupt)


async def test_a_cancelled_agent_is_trouble_of_our_own() -> None:
    batch, commits = _batch()
    with pytest.raises(asyncio.CancelledError):
        async with batch:
            raise asyncio.CancelledError
    assert commits == []
    assert isinstance(batch.error, OursError)


async def test_the_first_end_counts() -> None:
    batch, _ = _batch()
    batch.end(None)
    batch.end(OursError("later"))
    assert batch.error is None


async def test_a_batch_that_the_agent_never_opens_is_ended_when_it_takes_the_next() -> None:
    follow = Handover()
    (first, _), (second, _) = _batch(), _batch()
    follow(first)
    follow(second)
    assert isinstance(first.error, OursError)
    assert not second.ended


async def test_a_batch_whose_agent_dies_is_ended() -> None:
    follow = Handover()
    batch, _ = _batch()

    async def agent() -> None:
        follow(batch)

    await asyncio.create_task(agent())
    await batch.wait_ended()
    assert isinstance(batch.error, OursError)


def test_rows_keep_their_order_and_keyless_ones_go_to_the_first_partition() -> None:
    outputs = [
        Output("t", b"b", b"1"),
        Output("t", None, b"2"),
        Output("t", b"a", b"3", (), 7),
        Output("t", b"b", b"4"),
    ]
    home = PartitionOf(6)(b"b")
    assert home not in (0, 7)
    assert group_rows(outputs, {"t": PartitionOf(6)}) == {
        ("t", home): [(b"b", b"1", ()), (b"b", b"4", ())],
        ("t", 0): [(None, b"2", ())],
        ("t", 7): [(b"a", b"3", ())],
    }


@pytest.mark.parametrize("partition", [None, 3])
@pytest.mark.parametrize("headers", [None, [(("n", b"%d" % n),) for n in range(40)]])
def test_columns_are_grouped_as_their_records_would_be_one_by_one(
    partition: int | None, headers: list[Headers] | None
) -> None:
    keys = [None if n % 9 == 0 else b"k%d" % (n % 7) for n in range(40)]
    values = [None if n % 11 == 0 else b"v%d" % n for n in range(40)]
    columns = OutputColumns("t", keys, values, headers, partition)
    before, after = Output("t", b"k1", b"before"), Output("t", b"k1", b"after")
    one_by_one = group_rows([before, *columns.outputs(), after], {"t": PartitionOf(4)})
    assert group_rows([before, columns, after], {"t": PartitionOf(4)}) == one_by_one


def test_no_partition_is_written_to_for_columns_without_records() -> None:
    assert group_rows([OutputColumns("t", [], [])], {"t": PartitionOf(4)}) == {}


async def test_what_has_ended_is_let_go_of_without_the_collector() -> None:
    batch, _ = _batch()
    lane, row = weakref.ref(batch._turns), _Row()  # pyright: ignore[reportPrivateUsage]
    kept = weakref.ref(row)
    batch.items = [row]  # type: ignore[list-item]  # pyright: ignore[reportAttributeAccessIssue]
    del row
    gc.collect()
    gc.disable()
    try:
        async with batch:
            pass
        assert lane() is None
        assert kept() is None, "an agent without work keeps its last batch, and all it held"
    finally:
        gc.enable()


async def test_nothing_is_asked_or_committed_by_a_batch_that_has_ended() -> None:
    batch, commits = _batch()
    batch.end(OwnershipLostError("revoked"))
    with pytest.raises(BatchAbandonedError):
        await batch.ask("?", asyncio.sleep(0))
    async with batch:
        pass
    assert commits == []
    assert isinstance(batch.error, OwnershipLostError)
