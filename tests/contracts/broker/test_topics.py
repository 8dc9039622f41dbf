from __future__ import annotations

from batuta.streams.broker.messages_cluster import (
    AlterableConfig,
    AlterConfigsRequest,
    AlterConfigsResource,
    AlterConfigsResponse,
    ConfigEntry,
    CreatedTopic,
    CreatePartitionsRequest,
    CreatePartitionsResponse,
    CreatePartitionsTopic,
    CreateTopicsRequest,
    CreateTopicsResponse,
    DeleteTopicsRequest,
    DeleteTopicsResponse,
    DeleteTopicState,
    DescribeConfigsRequest,
    DescribeConfigsResource,
    DescribeConfigsResponse,
    IncrementalAlterConfigsRequest,
    IncrementalAlterConfigsResource,
    IncrementalConfig,
    MetadataRequest,
    MetadataRequestTopic,
    MetadataResponse,
    MetadataTopic,
    NewTopic,
    NewTopicAssignment,
    NewTopicConfig,
)
from batuta.streams.broker.raw_client import RawClient, eventually
from batuta.streams.broker.testing import TopicFactory

TOPIC = 2
SET, DELETE, APPEND, SUBTRACT = range(4)


async def create(raw: RawClient, topic: NewTopic, *, dry: bool = False) -> CreatedTopic:
    answer = await raw.ask(CreateTopicsRequest((topic,), 5000, dry), CreateTopicsResponse)
    return answer.topics[0]


async def describe(raw: RawClient, name: str) -> MetadataTopic:
    asked = MetadataRequest((MetadataRequestTopic(name=name),), False)
    return (await raw.ask(asked, MetadataResponse)).topics[0]


async def configs(raw: RawClient, name: str) -> dict[str, ConfigEntry]:
    asked = DescribeConfigsRequest((DescribeConfigsResource(TOPIC, name),), False)
    answer = await raw.ask(asked, DescribeConfigsResponse)
    assert answer.results[0].error_code == 0
    return {entry.name: entry for entry in answer.results[0].configs}


async def until_partitions(raw: RawClient, name: str, count: int) -> None:
    async def there() -> bool:
        return len((await describe(raw, name)).partitions) == count

    await eventually(there)


async def test_a_topic_is_created_once(raw: RawClient) -> None:
    name = TopicFactory.unique("once")
    made = await create(raw, NewTopic(name, 3, 1))
    again = await create(raw, NewTopic(name, 3, 1))
    assert (made.error_code, made.partition_count, made.replication_factor) == (0, 3, 1)
    assert again.error_code == 36
    await until_partitions(raw, name, 3)
    found = await describe(raw, name)
    assert found.topic_id == made.topic_id
    assert [p.partition for p in sorted(found.partitions, key=lambda p: p.partition)] == [0, 1, 2]


async def test_a_dry_run_creates_nothing(raw: RawClient) -> None:
    name = TopicFactory.unique("dry")
    assert (await create(raw, NewTopic(name, 2, 1), dry=True)).error_code == 0
    assert (await describe(raw, name)).error_code == 3


async def test_defaults_are_the_brokers(raw: RawClient) -> None:
    made = await create(raw, NewTopic(TopicFactory.unique("default"), -1, -1))
    assert (made.error_code, made.partition_count, made.replication_factor) == (0, 1, 1)


async def test_shapes_that_cannot_be_are_refused(raw: RawClient) -> None:
    unique = TopicFactory.unique
    cases = [
        (NewTopic("no spaces", 1, 1), 17),
        (NewTopic("", 1, 1), 17),
        (NewTopic("..", 1, 1), 17),
        (NewTopic("x" * 250, 1, 1), 17),
        (NewTopic(unique("none"), 0, 1), 37),
        (NewTopic(unique("three"), 1, 3), 38),
        (NewTopic(unique("zero"), 1, 0), 38),
        (NewTopic(unique("conf"), 1, 1, (), (NewTopicConfig("no.such.setting", "1"),)), 40),
        (NewTopic(unique("conf"), 1, 1, (), (NewTopicConfig("retention.ms", "soon"),)), 40),
        (NewTopic(unique("conf"), 1, 1, (), (NewTopicConfig("max.message.bytes", "-1"),)), 40),
        (NewTopic(unique("conf"), 1, 1, (), (NewTopicConfig("cleanup.policy", "burn"),)), 40),
        (NewTopic(unique("conf"), 1, 1, (), (NewTopicConfig("preallocate", "maybe"),)), 40),
        (NewTopic(unique("conf"), 1, 1, (), (NewTopicConfig("retention.ms", None),)), 40),
        (NewTopic(unique("both"), 2, 1, (NewTopicAssignment(0, (1,)),)), 42),
        (NewTopic(unique("elsewhere"), -1, -1, (NewTopicAssignment(0, (7,)),)), 39),
        (NewTopic(unique("hole"), -1, -1, (NewTopicAssignment(1, (1,)),)), 39),
    ]
    found = [(topic, (await create(raw, topic)).error_code) for topic, _ in cases]
    assert found == cases


async def test_partitions_can_be_assigned(raw: RawClient) -> None:
    name = TopicFactory.unique("assigned")
    assignments = (NewTopicAssignment(0, (1,)), NewTopicAssignment(1, (1,)))
    assert (await create(raw, NewTopic(name, -1, -1, assignments))).error_code == 0
    await until_partitions(raw, name, 2)


async def test_a_deleted_topic_is_gone_and_may_come_back_empty(raw: RawClient) -> None:
    name = TopicFactory.unique("gone")
    first = await create(raw, NewTopic(name, 1, 1))

    async def delete() -> int:
        asked = DeleteTopicsRequest((DeleteTopicState(name, bytes(16)),), (), 5000)
        return (await raw.ask(asked, DeleteTopicsResponse)).topics[0].error_code

    assert [await delete(), await delete()] == [0, 3]
    second = await create(raw, NewTopic(name, 1, 1))
    assert second.error_code == 0
    assert second.topic_id != first.topic_id


async def test_topics_can_be_deleted_by_id_or_in_older_versions(raw: RawClient) -> None:
    names = [TopicFactory.unique("old") for _ in range(2)]
    made = [await create(raw, NewTopic(name, 1, 1)) for name in names]
    by_id = DeleteTopicsRequest((DeleteTopicState(None, made[0].topic_id),), (), 5000)
    assert (await raw.ask(by_id, DeleteTopicsResponse)).topics[0].error_code == 0
    assert (await raw.ask(by_id, DeleteTopicsResponse)).topics[0].error_code == 100
    by_name = DeleteTopicsRequest((), (names[1],), 5000)
    assert (await raw.ask(by_name, DeleteTopicsResponse, 5)).topics[0].error_code == 0


async def test_partitions_only_grow(raw: RawClient, topics: TopicFactory) -> None:
    name = await topics.create("grow", partitions=2)

    async def grow(topic: str, count: int) -> int:
        asked = CreatePartitionsRequest((CreatePartitionsTopic(topic, count),), 5000, False)
        return (await raw.ask(asked, CreatePartitionsResponse)).results[0].error_code

    codes = [await grow(name, count) for count in (2, 1, 0, 4)]
    assert codes == [37, 37, 37, 0]
    assert await grow("nobody-made-this", 4) == 3
    await until_partitions(raw, name, 4)


async def test_settings_are_apache_kafkas(raw: RawClient, topics: TopicFactory) -> None:
    name = await topics.create("configs", configs={"retention.ms": "1000"})
    found = await configs(raw, name)
    assert found["retention.ms"].source == 1
    assert {key: entry.value for key, entry in found.items()} == KAFKA_DEFAULTS | {
        "retention.ms": "1000"
    }
    assert found["max.message.bytes"].config_type == 3
    assert not any(entry.read_only or entry.is_sensitive for entry in found.values())


async def test_only_the_settings_asked_for_are_told(raw: RawClient, topics: TopicFactory) -> None:
    name = await topics.create("some")
    asked = DescribeConfigsResource(TOPIC, name, ("retention.ms", "no.such.setting"))
    answer = await raw.ask(DescribeConfigsRequest((asked,), False), DescribeConfigsResponse)
    assert [entry.name for entry in answer.results[0].configs] == ["retention.ms"]


async def test_settings_of_unknown_topics(raw: RawClient) -> None:
    asked = DescribeConfigsRequest((DescribeConfigsResource(TOPIC, "nobody-made-this"),), False)
    answer = await raw.ask(asked, DescribeConfigsResponse)
    assert (answer.results[0].error_code, answer.results[0].configs) == (3, ())


async def test_settings_change_one_by_one(raw: RawClient, topics: TopicFactory) -> None:
    name = await topics.create("change", configs={"segment.ms": "5000"})

    async def change(*changes: IncrementalConfig) -> int:
        asked = IncrementalAlterConfigsResource(TOPIC, name, changes)
        request = IncrementalAlterConfigsRequest((asked,), False)
        return (await raw.ask(request, AlterConfigsResponse)).results[0].error_code

    assert await change(IncrementalConfig("retention.ms", SET, "7")) == 0
    assert await change(IncrementalConfig("segment.ms", DELETE, None)) == 0
    assert await change(IncrementalConfig("cleanup.policy", APPEND, "compact")) == 0
    assert await change(IncrementalConfig("no.such.setting", SET, "7")) == 40
    assert await change(IncrementalConfig("retention.ms", SET, "soon")) == 40
    assert await change(IncrementalConfig("retention.ms", APPEND, "7")) == 40

    async def changed() -> bool:
        found = await configs(raw, name)
        values = [found[key].value for key in ("retention.ms", "segment.ms", "cleanup.policy")]
        return values == ["7", "604800000", "delete,compact"]

    await eventually(changed)
    assert await change(IncrementalConfig("cleanup.policy", SUBTRACT, "delete")) == 0

    async def only_compact() -> bool:
        return (await configs(raw, name))["cleanup.policy"].value == "compact"

    await eventually(only_compact)


async def test_settings_are_replaced_at_once(raw: RawClient, topics: TopicFactory) -> None:
    name = await topics.create("replace", configs={"segment.ms": "5000"})

    async def replace(topic: str, *entries: AlterableConfig) -> int:
        request = AlterConfigsRequest((AlterConfigsResource(TOPIC, topic, entries),), False)
        return (await raw.ask(request, AlterConfigsResponse)).results[0].error_code

    assert await replace("nobody-made-this") == 3
    assert await replace(name, AlterableConfig("retention.ms", "soon")) == 40
    assert await replace(name, AlterableConfig("retention.ms", "7")) == 0

    async def replaced() -> bool:
        found = await configs(raw, name)
        return (found["retention.ms"].value, found["segment.ms"].source) == ("7", 5)

    await eventually(replaced)


KAFKA_DEFAULTS = {
    "cleanup.policy": "delete",
    "compression.gzip.level": "-1",
    "compression.lz4.level": "9",
    "compression.type": "producer",
    "compression.zstd.level": "3",
    "delete.retention.ms": "86400000",
    "file.delete.delay.ms": "60000",
    "flush.messages": "9223372036854775807",
    "flush.ms": "9223372036854775807",
    "follower.replication.throttled.replicas": "",
    "index.interval.bytes": "4096",
    "leader.replication.throttled.replicas": "",
    "local.retention.bytes": "-2",
    "local.retention.ms": "-2",
    "max.compaction.lag.ms": "9223372036854775807",
    "max.message.bytes": "1048588",
    "message.timestamp.after.max.ms": "3600000",
    "message.timestamp.before.max.ms": "9223372036854775807",
    "message.timestamp.type": "CreateTime",
    "min.cleanable.dirty.ratio": "0.5",
    "min.compaction.lag.ms": "0",
    "min.insync.replicas": "1",
    "preallocate": "false",
    "remote.log.copy.disable": "false",
    "remote.log.delete.on.disable": "false",
    "remote.storage.enable": "false",
    "retention.bytes": "-1",
    "retention.ms": "604800000",
    "segment.bytes": "1073741824",
    "segment.index.bytes": "10485760",
    "segment.jitter.ms": "0",
    "segment.ms": "604800000",
    "unclean.leader.election.enable": "false",
}
