"""The engines, in the order in which they run: what each promises, and how it is started."""

from __future__ import annotations

import importlib.metadata
import shutil
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["ENGINES", "Engine", "Launch", "UnavailableError"]

PEERS = Path(__file__).parents[1] / "peers"
CACHE = Path.home() / ".cache" / "batuta" / "benchmarks"


class UnavailableError(Exception):
    """An engine cannot run on this machine; the message says what is missing."""


@dataclass(frozen=True)
class Launch:
    """How a prepared engine is started."""

    command: tuple[str, ...]
    version: str
    environment: dict[str, str] = field(default_factory=dict[str, str])


@dataclass(frozen=True)
class Engine:
    """One engine and its settings.

    Attributes:
        guarantee: what holds when it is killed.
        state: where what it remembers of a card is kept.
        settings: how it was told to run, beyond its defaults.
        prepare: fetches and compiles what it needs; raises UnavailableError.
        share: of the events, how many it is given: slow engines get fewer.
        topics: what must be there besides its output; `{}` stands for the output's name.
        stateful: whether it remembers cards at all.
        limit: whether it is no engine but a limit of what engines can do.
    """

    name: str
    guarantee: str
    state: str
    settings: str
    prepare: Callable[[], Launch]
    share: float = 1.0
    topics: tuple[str, ...] = ()
    stateful: bool = True
    limit: bool = False


def _version(package: str) -> str:
    return f"{package} {importlib.metadata.version(package)}"


def _ours(script: str, package: str, *words: str) -> Callable[[], Launch]:
    def prepare() -> Launch:
        python = f"Python {sys.version.split()[0]}"
        command = (sys.executable, str(PEERS / script), *words)
        return Launch(command, f"{_version(package)}, {python}")

    return prepare


def _script(name: str, package: str, jars: str | None = None) -> Callable[[], Launch]:
    """Prepare a peer whose packages live in an environment of its own, pinned by its lock file."""

    def prepare() -> Launch:
        uv = shutil.which("uv")
        if uv is None:
            raise UnavailableError("no uv on the PATH to make its environment")
        script = str(PEERS / name)
        _run("its environment", uv, "sync", "--quiet", "--locked", "--script", script)
        python = _run("its Python", uv, "python", "find", "--script", script)
        asked = f"import sys, importlib.metadata as m; print(m.version({package!r}), sys.version)"
        version, _, rest = _run("its version", python, "-c", asked).partition(" ")
        environment = {} if jars is None else {"BENCH_JARS": str(_jars(jars))}
        said = f"{package} {version}, Python {rest.split()[0]}"
        return Launch((python, script), said, environment)

    return prepare


def _run(what: str, *command: str) -> str:
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise UnavailableError(f"{what}: {(done.stderr or done.stdout).strip()[-600:]}")
    return done.stdout.strip()


def _jars(name: str) -> Path:
    """Return the folder of the jars that a peer's pom names, fetched by Maven the first time."""
    folder, maven = CACHE / name, shutil.which("mvn")
    marker = folder / "complete"
    pom = (PEERS / name / "pom.xml").read_text()
    if marker.exists() and marker.read_text() == pom:
        return folder
    if maven is None:
        raise UnavailableError("no Maven (mvn) to fetch its jars")
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    target = f"-DoutputDirectory={folder}"
    goal = "dependency:copy-dependencies"
    _run("its jars", maven, "-q", "-B", "-f", str(PEERS / name / "pom.xml"), goal, target)
    marker.write_text(pom)
    return folder


def _classpath(jars: Path) -> str:
    return ":".join(str(jar) for jar in sorted(jars.glob("*.jar")))


def _kafka_streams() -> Launch:
    java = shutil.which("java")
    if java is None:
        raise UnavailableError("no Java (java) on the PATH; it needs 17 or newer")
    jars = _jars("kafka_streams")
    compiled = str(CACHE / "kafka_streams_classes")
    source = str(PEERS / "kafka_streams" / "Peer.java")
    compiler = (
        "-cp",
        f"{jars}/*",
        "org.eclipse.jdt.internal.compiler.batch.Main",
        "-17",
        "-nowarn",
    )
    _run("its program", java, *compiler, "-cp", _classpath(jars), "-d", compiled, source)
    command = (java, "-cp", f"{jars}/*:{compiled}", "Peer")
    version = subprocess.run([java, "-version"], capture_output=True, text=True, check=False)
    found = next(jars.glob("kafka-streams-*.jar")).stem.removeprefix("kafka-streams-")
    return Launch(command, f"kafka-streams {found}, {version.stderr.splitlines()[0]}")


ENGINES: tuple[Engine, ...] = (
    Engine(
        "batuta",
        "exactly once",
        "keyed table with a changelog, in the same transaction",
        "defaults",
        _ours("batuta_peer.py", "batuta"),
        topics=("{}.state", "{}.deadletters"),
    ),
    Engine(
        "limit",
        "exactly once while nothing fails",
        "a dict",
        "aiokafka alone: one transaction per batch of up to 8,000 records",
        _ours("limit_peer.py", "aiokafka"),
        limit=True,
    ),
    Engine(
        "limit, state written",
        "exactly once while nothing fails",
        "a dict, and a changelog that nobody reads",
        "as the limit, and one changelog record per card and batch",
        _ours("limit_peer.py", "aiokafka", "--changelog"),
        topics=("{}.state",),
        limit=True,
    ),
    Engine(
        "kafka streams",
        "exactly once (exactly_once_v2)",
        "RocksDB with caching and a changelog",
        "one thread; commit interval 100 ms, its default under this guarantee",
        _kafka_streams,
    ),
    Engine(
        "quix",
        "exactly once",
        "RocksDB with a changelog",
        "commit interval 5 s, its default",
        _script("quix_peer.py", "quixstreams"),
    ),
    Engine(
        "bytewax",
        "none: no recovery store",
        "in memory",
        "one worker, batches of 1,000",
        _script("bytewax_peer.py", "bytewax"),
    ),
    Engine(
        "pathway",
        "at least once",
        "none: stateless",
        "autocommit 100 ms; scores each event as the first of its card",
        _script("pathway_peer.py", "pathway"),
        stateful=False,
    ),
    Engine(
        "pyflink",
        "exactly once (checkpoints and Kafka transactions)",
        "heap with checkpoints",
        "thread mode, parallelism 1, checkpoint every 1 s, bundles of 5,000",
        _script("flink_peer.py", "apache-flink", jars="flink"),
        share=0.5,
    ),
    Engine(
        "faust",
        "at least once",
        "table in memory with a changelog",
        "stock Faust",
        _ours("faust_peer.py", "faust-streaming"),
        share=0.05,
    ),
)
