# /// script
# requires-python = ">=3.11,<3.12"
# dependencies = ["apache-flink==2.2.1", "orjson==3.13.0", "setuptools<81"]
# ///
"""PyFlink in thread mode: exactly once by checkpoints and Kafka transactions, one slot."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import orjson
from pyflink.common import Configuration, Types, WatermarkStrategy
from pyflink.common.serialization import SimpleStringSchema
from pyflink.datastream import CheckpointingMode, KeyedProcessFunction, StreamExecutionEnvironment
from pyflink.datastream.connectors.kafka import (
    DeliveryGuarantee,
    KafkaOffsetsInitializer,
    KafkaRecordSerializationSchema,
    KafkaSink,
    KafkaSource,
)
from pyflink.datastream.state import ValueStateDescriptor
from work import BOOTSTRAP, COMMIT_INTERVAL_MS, GROUP, INPUT, OUTPUT, decide


class Step(KeyedProcessFunction):
    def open(self, runtime_context) -> None:  # noqa: ANN001  Flink's
        described = ValueStateDescriptor("sum", Types.PICKLED_BYTE_ARRAY())
        self.sum = runtime_context.get_state(described)

    def process_element(self, value, ctx):  # noqa: ANN001, ANN201, ARG002  Flink's
        tx = orjson.loads(value[1])
        n, total = self.sum.value() or (0, 0.0)
        n, total = n + 1, total + tx["amount"]
        self.sum.update((n, total))
        yield orjson.dumps(decide(tx, n, total)).decode()


def main() -> None:
    # The interpreter that the JVM embeds knows no virtual environment.
    os.environ["PYTHONPATH"] = os.pathsep.join(folder for folder in sys.path if folder)
    settings = Configuration()
    settings.set_string("python.execution-mode", "thread")
    settings.set_string("python.executable", sys.executable)
    settings.set_string("restart-strategy.type", "none")
    settings.set_string("python.fn-execution.bundle.size", "5000")
    settings.set_string("taskmanager.memory.managed.size", "256m")
    flow = StreamExecutionEnvironment.get_execution_environment(settings)
    flow.set_parallelism(1)
    flow.add_jars(*(jar.as_uri() for jar in Path(os.environ["BENCH_JARS"]).glob("*.jar")))
    flow.enable_checkpointing(int(COMMIT_INTERVAL_MS or 1000), CheckpointingMode.EXACTLY_ONCE)
    source = (
        KafkaSource.builder()
        .set_bootstrap_servers(BOOTSTRAP)
        .set_topics(INPUT)
        .set_group_id(GROUP)
        .set_starting_offsets(KafkaOffsetsInitializer.earliest())
        .set_value_only_deserializer(SimpleStringSchema())
        .build()
    )
    sink = (
        KafkaSink.builder()
        .set_bootstrap_servers(BOOTSTRAP)
        .set_record_serializer(
            KafkaRecordSerializationSchema.builder()
            .set_topic(OUTPUT)
            .set_value_serialization_schema(SimpleStringSchema())
            .build()
        )
        .set_delivery_guarantee(DeliveryGuarantee.EXACTLY_ONCE)
        .set_transactional_id_prefix(GROUP)
        .set_property("transaction.timeout.ms", "600000")
        .build()
    )
    pair = Types.TUPLE([Types.STRING(), Types.STRING()])
    decided = (
        flow.from_source(source, WatermarkStrategy.no_watermarks(), "in")
        .map(lambda text: (orjson.loads(text)["card_id"], text), pair)
        .key_by(lambda value: value[0], Types.STRING())
        .process(Step(), Types.STRING())
    )
    decided.sink_to(sink)
    flow.execute("bench")


if __name__ == "__main__":
    main()
