"""Starts one Apache Kafka broker (KRaft) from its jars, for contract tests and benchmarks."""

from __future__ import annotations

import contextlib
import os
import random
import shutil
import socket
import struct
import subprocess
import tempfile
import time
from pathlib import Path

from batuta.schemas.errors import LaterError

__all__ = ["ApacheKafka", "ApacheKafkaUnavailableError", "find_libraries"]

KAFKA_VERSION = "4.1.0"
LIBRARIES_VARIABLE = "BATUTA_TEST_KAFKA_LIBS"
CLUSTER_ID = "YmF0dXRhLXRlc3RzLTAwMQ"
START_DEADLINE_S = 120.0
STOP_DEADLINE_S = 20.0
PORTS = range(20_000, 32_000)

#: Runs a program that ends when our end of its stdin closes, so that no JVM outlives its starter.
GUARD = '"$@" 3<&- & pid=$!; (cat <&3 >/dev/null; kill "$pid") 2>/dev/null & wait "$pid"'

SERVER_PROPERTIES = """\
process.roles=broker,controller
node.id=1
controller.quorum.voters=1@127.0.0.1:{controller_port}
listeners=PLAINTEXT://127.0.0.1:{port},CONTROLLER://127.0.0.1:{controller_port}
advertised.listeners=PLAINTEXT://127.0.0.1:{port}
controller.listener.names=CONTROLLER
listener.security.protocol.map=CONTROLLER:PLAINTEXT,PLAINTEXT:PLAINTEXT
log.dirs={directory}/data
auto.create.topics.enable=false
offsets.topic.replication.factor=1
offsets.topic.num.partitions=4
transaction.state.log.replication.factor=1
transaction.state.log.min.isr=1
transaction.state.log.num.partitions=4
transaction.abort.timed.out.transaction.cleanup.interval.ms=200
group.initial.rebalance.delay.ms=0
group.min.session.timeout.ms=100
group.max.session.timeout.ms=300000
log.cleaner.enable=false
"""

LOG4J_PROPERTIES = """\
rootLogger.level=WARN
rootLogger.appenderRefs=console
rootLogger.appenderRef.console.ref=CONSOLE
appender.console.type=Console
appender.console.name=CONSOLE
appender.console.layout.type=PatternLayout
appender.console.layout.pattern=%d %p %c{1} %m%n
"""


class ApacheKafkaUnavailableError(LaterError):
    """Apache Kafka cannot run on this machine; the message says what is missing."""


def find_libraries(pom: Path) -> Path:
    """Find the folder of Apache Kafka's jars, fetching them with Maven the first time.

    Args:
        pom: the Maven project that names the artifacts.

    Returns:
        A folder of jars: `$BATUTA_TEST_KAFKA_LIBS`, else one in the user's cache.

    Raises:
        ApacheKafkaUnavailableError: there are no jars and Maven cannot fetch them.
    """
    named = os.environ.get(LIBRARIES_VARIABLE)
    libraries = (
        Path(named) if named else Path.home() / ".cache" / "batuta" / f"kafka-{KAFKA_VERSION}"
    )
    if _has_jars(libraries):
        return libraries
    if named:
        raise ApacheKafkaUnavailableError(f"{LIBRARIES_VARIABLE}={named} holds no Kafka jars")
    _fetch_libraries(pom, libraries)
    return libraries


def _has_jars(folder: Path) -> bool:
    return (folder / f"kafka_2.13-{KAFKA_VERSION}.jar").exists()


def _fetch_libraries(pom: Path, folder: Path) -> None:
    maven = shutil.which("mvn")
    if maven is None:
        raise ApacheKafkaUnavailableError("no Apache Kafka jars and no Maven (mvn) to fetch them")
    folder.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=folder.parent) as scratch:
        target = Path(scratch) / "libs"
        done = subprocess.run(  # noqa: S603 - our own arguments
            [maven, "-q", "-B", "-f", str(pom), "dependency:copy-dependencies",
             f"-DoutputDirectory={target}"],
            cwd=scratch, capture_output=True, text=True, check=False,
        )  # fmt: skip
        if done.returncode or not _has_jars(target):
            raise ApacheKafkaUnavailableError(f"Maven could not fetch Kafka: {done.stdout[-800:]}")
        try:
            target.rename(folder)
        except OSError:  # another process was quicker
            if not _has_jars(folder):
                raise


class ApacheKafka:
    """One running Apache Kafka broker on 127.0.0.1, stopped by `stop()` or with its starter."""

    def __init__(self, libraries: Path, directory: Path) -> None:
        """Start a broker and wait until it answers.

        Args:
            libraries: a folder of Apache Kafka's jars.
            directory: an empty folder for its settings, data and log.

        Raises:
            ApacheKafkaUnavailableError: Java is missing, or the broker does not come up.
        """
        java = shutil.which("java")
        if java is None:
            raise ApacheKafkaUnavailableError("no Java (java) on the PATH; Kafka needs 17 or newer")
        self._directory = directory
        port, controller_port = _free_ports()
        self.bootstrap = f"127.0.0.1:{port}"
        self._write_settings(port, controller_port)
        self._java = [
            java, "-Xms256m", "-Xmx1g", "-XX:TieredStopAtLevel=4",
            f"-Dlog4j2.configurationFile={directory}/log4j2.properties",
            "-cp", f"{libraries}/*",
        ]  # fmt: skip
        self._format_storage()
        self._process = self._launch()
        self._wait_until_ready(port)

    def stop(self) -> None:
        """End the broker by its own pid and wait until it is gone."""
        if self._process.stdin is not None:
            self._process.stdin.close()
        try:
            self._process.wait(STOP_DEADLINE_S)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()

    def _write_settings(self, port: int, controller_port: int) -> None:
        self._directory.mkdir(parents=True, exist_ok=True)
        settings = SERVER_PROPERTIES.format(
            port=port, controller_port=controller_port, directory=self._directory
        )
        (self._directory / "server.properties").write_text(settings)
        (self._directory / "log4j2.properties").write_text(LOG4J_PROPERTIES)

    def _format_storage(self) -> None:
        settings = str(self._directory / "server.properties")
        tool = ["kafka.tools.StorageTool", "format", "-t", CLUSTER_ID, "-c", settings]
        done = subprocess.run(  # noqa: S603 - our own arguments
            [*self._java, *tool], capture_output=True, text=True, check=False
        )
        if done.returncode:
            raise ApacheKafkaUnavailableError(f"Kafka storage: {done.stdout}{done.stderr}")

    def _launch(self) -> subprocess.Popen[bytes]:
        server = [*self._java, "kafka.Kafka", str(self._directory / "server.properties")]
        with (self._directory / "kafka.log").open("wb") as log:
            return subprocess.Popen(  # noqa: S603 - our own arguments
                ["/bin/sh", "-c", f"exec 3<&0; {GUARD}", "guard", *server],
                stdin=subprocess.PIPE, stdout=log, stderr=subprocess.STDOUT,
            )  # fmt: skip

    def _wait_until_ready(self, port: int) -> None:
        deadline = time.monotonic() + START_DEADLINE_S
        while time.monotonic() < deadline and self._process.poll() is None:
            if _answers(port):
                return
            time.sleep(0.05)
        self.stop()
        log = (self._directory / "kafka.log").read_text(errors="replace")
        raise ApacheKafkaUnavailableError(f"Apache Kafka did not start: {log[-2000:]}")


def _free_ports() -> tuple[int, int]:
    with contextlib.ExitStack() as held:
        first, second = (held.enter_context(socket.socket()) for _ in range(2))
        return _bind_somewhere(first), _bind_somewhere(second)


def _bind_somewhere(free: socket.socket) -> int:
    """Bind below the ports that outgoing connections take: there nothing moves in meanwhile."""
    for port in random.sample(PORTS, len(PORTS)):
        with contextlib.suppress(OSError):
            free.bind(("127.0.0.1", port))
            return port
    raise ApacheKafkaUnavailableError(f"no free port in {PORTS}")


def _answers(port: int) -> bool:
    api_versions = struct.pack(">hhih", 18, 0, 1, -1)
    try:
        with socket.create_connection(("127.0.0.1", port), timeout=2.0) as link:
            link.sendall(struct.pack(">i", len(api_versions)) + api_versions)
            return len(link.recv(4)) == 4  # noqa: PLR2004 - the length prefix of an answer
    except OSError:
        return False
