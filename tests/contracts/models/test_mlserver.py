"""The Open Inference adapter against MLServer itself, in an environment of its own.

MLServer needs Python below 3.13. Its environment is made once, below the cache folder; without a
network to make it from, the test is skipped and says so, and fails where CI is set.
"""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from pathlib import Path
from typing import TYPE_CHECKING, Final

import numpy as np
import pytest

from batuta.schemas.errors import ModelFailedError
from batuta.streams.adapters.http_calls import Endpoint
from batuta.streams.adapters.open_inference import OpenInferenceModel, OpenInferencePlan

if TYPE_CHECKING:
    from collections.abc import Iterator

MLSERVER: Final = "1.7.1"
INSTALL_DEADLINE_S: Final = 200
START_DEADLINE_S: Final = 90
RUNTIME: Final = """
import json
import numpy as np
from mlserver import MLModel
from mlserver.codecs import NumpyCodec
from mlserver.types import InferenceResponse


class Logistic(MLModel):
    async def load(self):
        with open(self.settings.parameters.uri) as file:
            self.weights = np.array(json.load(file))
        return True

    async def predict(self, payload):
        rows = NumpyCodec.decode_input(payload.inputs[0])
        with np.errstate(all="ignore"):
            scores = 1.0 / (1.0 + np.exp(-(rows @ self.weights)))
        if rows.shape[0] == 13:
            raise ValueError("an unlucky batch")
        output = NumpyCodec.encode_output("score", scores)
        return InferenceResponse(model_name=self.name, model_version="v1", outputs=[output])
"""


def environment() -> Path:
    """Return the Python of an environment that has MLServer; make it where there is none."""
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    place = cache / "batuta" / f"mlserver-{MLSERVER}"
    python = place / "bin" / "python"
    ready = place / "ready"
    if not ready.exists():
        version = "3.12" if sys.version_info >= (3, 13) else sys.executable
        for command in (
            ["uv", "venv", "--quiet", "--clear", "--python", version, str(place)],
            ["uv", "pip", "install", "--quiet", "--python", str(python), f"mlserver=={MLSERVER}"],
        ):
            subprocess.run(command, check=True, timeout=INSTALL_DEADLINE_S, capture_output=True)
        ready.touch()
    return python


def free_ports(count: int) -> list[int]:
    with_sockets = [socket.socket() for _ in range(count)]
    for one in with_sockets:
        one.bind(("127.0.0.1", 0))
    ports = [one.getsockname()[1] for one in with_sockets]
    for one in with_sockets:
        one.close()
    return ports


def write_model(folder: Path, ports: list[int]) -> None:
    (folder / "logistic.py").write_text(RUNTIME)
    (folder / "weights.json").write_text("[2.0, -1.0]")
    model = {
        "name": "risk",
        "implementation": "logistic.Logistic",
        "parameters": {"uri": str(folder / "weights.json"), "version": "v1"},
    }
    (folder / "model-settings.json").write_text(json.dumps(model))
    names = ("http_port", "grpc_port", "metrics_port")
    settings = {"host": "127.0.0.1", "parallel_workers": 0, **dict(zip(names, ports, strict=True))}
    (folder / "settings.json").write_text(json.dumps(settings))


def wait_until_ready(server: subprocess.Popen[bytes], url: str) -> None:
    deadline = time.monotonic() + START_DEADLINE_S
    while time.monotonic() < deadline:
        assert server.poll() is None, f"MLServer ended with {server.returncode}"
        try:
            with urllib.request.urlopen(f"{url}/v2/models/risk/ready", timeout=5):
                return
        except (urllib.error.URLError, OSError):
            time.sleep(0.1)
    pytest.fail("MLServer did not become ready")


@pytest.fixture(scope="module")
def mlserver(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    try:
        python = environment()
    except (subprocess.SubprocessError, OSError) as error:
        what = f"no MLServer {MLSERVER} could be installed: {error}"
        if os.environ.get("CI"):
            pytest.fail(what)
        pytest.skip(what)
    folder, ports = tmp_path_factory.mktemp("mlserver"), free_ports(3)
    write_model(folder, ports)
    server = subprocess.Popen(
        [str(python.parent / "mlserver"), "start", str(folder)],
        cwd=folder,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        env={"PATH": os.environ["PATH"], "HOME": str(folder), "PYTHONPATH": str(folder)},
    )
    url = f"http://127.0.0.1:{ports[0]}"
    try:
        wait_until_ready(server, url)
        yield url
    finally:
        server.terminate()
        try:
            server.wait(20)
        except subprocess.TimeoutExpired:
            server.kill()
            server.wait()


def plan(served_as: str = "risk", served_version: str = "") -> OpenInferencePlan:
    return OpenInferencePlan("risk", ("a", "b"), served_as, served_version)


async def test_mlserver_answers_and_is_read_to_the_bit(mlserver: str) -> None:
    rows = np.random.default_rng(7).normal(size=(600, 2)).astype(np.float32)
    right = 1.0 / (1.0 + np.exp(-(rows @ np.array([2.0, -1.0]))))
    rows[5] = np.nan
    async with OpenInferenceModel(Endpoint(mlserver, 60_000), plan(served_version="v1")) as model:
        answers = await model.answer(rows)
    assert answers.failures == {5: "invalid"}, "a score that is not a number was taken"
    kept = np.arange(600) != 5
    assert np.allclose(answers.scores[kept], right[kept], rtol=1e-12)
    assert answers.usage.requests == 3


async def test_what_mlserver_refuses_is_a_failure_with_its_kind(mlserver: str) -> None:
    endpoint, rows = Endpoint(mlserver, 60_000), np.zeros((13, 2), np.float32)
    async with OpenInferenceModel(endpoint, plan()) as model:
        with pytest.raises(ModelFailedError) as failed:
            await model.answer(rows)
    assert failed.value.kind in {"unavailable", "refused"}, failed.value
    async with OpenInferenceModel(endpoint, plan(served_as="gone")) as model:
        with pytest.raises(ModelFailedError, match="refused: answered 404"):
            await model.answer(rows[:2])
