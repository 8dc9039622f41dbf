"""Calls that outlive their batch: their answers come later, unless the batch was given up."""

from __future__ import annotations

import asyncio

from batuta.streams.lanes.calls import Call, Calls
from batuta.streams.lanes.flights import Part


async def slow(answer: asyncio.Event) -> str:
    await answer.wait()
    return "seven"


async def outlived(calls: Calls, question: str, answer: asyncio.Event) -> Call:
    call = await calls.ask(question, slow(answer))
    assert isinstance(call, Call)
    return call


async def test_an_answer_within_the_deadline_is_the_batchs_own() -> None:
    calls, answer = Calls(soft_deadline_ms=60_000), asyncio.Event()
    answer.set()
    assert await calls.ask("how many?", slow(answer)) == "seven"
    assert not calls.outstanding


async def test_a_later_batch_hears_an_answer_that_took_too_long() -> None:
    calls, answer = Calls(soft_deadline_ms=0), asyncio.Event()
    call = await outlived(calls, "how many?", answer)
    answer.set()
    await call.task
    heard = Part([], {}, answered=calls.take()).news.arrivals
    assert [(arrival.question, arrival.answer) for arrival in heard] == [("how many?", "seven")]


async def test_nobody_hears_an_answer_to_what_a_given_up_batch_asked() -> None:
    calls, answer = Calls(soft_deadline_ms=0), asyncio.Event()
    open_call = await outlived(calls, "how many?", answer)
    open_call.withdraw()
    await asyncio.wait([open_call.task])
    assert not calls.arrived
    assert not calls.outstanding


async def test_an_answer_is_taken_back_from_the_batch_that_carries_it_already() -> None:
    calls, answer = Calls(soft_deadline_ms=0), asyncio.Event()
    call = await outlived(calls, "how many?", answer)
    answer.set()
    await call.task
    carrier = Part([], {}, answered=calls.take())
    call.withdraw()
    assert carrier.news.arrivals == []
