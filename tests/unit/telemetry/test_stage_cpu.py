"""Tasks that are timed by their stage behave as others do, and their time is added up."""

from __future__ import annotations

import asyncio

from aiokafka import AIOKafkaProducer

from batuta.streams.lanes.kafka_shim import abandon_producer
from batuta.streams.lanes.whose import STAGE
from batuta.streams.telemetry.stage_cpu import StageCpu


async def worked(stage: str) -> None:
    STAGE.set(stage)
    for _ in range(3):
        sum(range(50_000))
        await asyncio.sleep(0)


async def test_time_is_added_to_the_stage_a_task_works_for() -> None:
    cpu = StageCpu()
    cpu.install(asyncio.get_running_loop())
    await asyncio.gather(worked("scoring"), worked("learning"))
    assert {"scoring", "learning"} <= cpu.seconds.keys()
    assert min(cpu.seconds.values()) >= 0.0


async def test_an_abandoned_producer_leaves_no_task_behind(embedded_broker: str) -> None:
    StageCpu().install(asyncio.get_running_loop())
    before = asyncio.all_tasks()
    producer = AIOKafkaProducer(bootstrap_servers=embedded_broker, transactional_id="abandoned-0")
    await producer.start()
    begun = asyncio.all_tasks() - before
    assert begun, "its sender is a task"
    await abandon_producer(producer)
    assert all(task.done() for task in begun), begun
