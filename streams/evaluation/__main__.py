"""One worker of an evaluation: a pipeline's stages until our starter is gone, then what they cost.

Says `ready` in a line once every lane is at work; in a last one, as JSON, what each stage took.
"""

import argparse
import asyncio
import sys
import time

import orjson

from batuta.schemas.errors import BatutaError
from batuta.streams.evaluation.without_people import without_people
from batuta.streams.house import House
from batuta.streams.lifecycle import Worker
from batuta.streams.pipelines.finding import find_pipeline
from batuta.streams.pipelines.opening import open_models
from batuta.streams.settings import Settings, load_settings
from batuta.streams.telemetry.logs import configure_logs
from batuta.streams.telemetry.stage_cpu import StageCpu

__all__ = ["main"]

READY = "ready"
#: What follows decisions: an evaluation opens no cases and tells nobody.
_LEFT_OUT = frozenset({"escalation", "notification"})


def main() -> int:
    """Serve as the arguments say."""
    parser = argparse.ArgumentParser()
    parser.add_argument("pipeline")
    parser.add_argument("settings", help="those that differ from our environment's, as JSON")
    parser.add_argument("--aligned", action="store_true")
    found = parser.parse_args()
    settings = load_settings(**orjson.loads(found.settings))
    configure_logs(settings)
    try:
        asyncio.run(_serve(found.pipeline, settings, aligned=found.aligned))
    except BatutaError as error:
        sys.stderr.write(f"{error}\n")
        return 1
    return 0


async def _serve(pipeline: str, settings: Settings, *, aligned: bool) -> None:
    cpu, loop = StageCpu(), asyncio.get_running_loop()
    on_disk = find_pipeline(pipeline)
    loaded, models = without_people(on_disk.loaded, open_models(on_disk, settings.model_dir))
    stages = [name for name in loaded.stages if name not in _LEFT_OUT]
    worker = Worker(settings, House(loaded, models, aligned=aligned), stages=stages)
    cpu.install(loop)
    gone = loop.run_in_executor(None, sys.stdin.buffer.read)
    try:
        await worker.start()
        await worker.wait_ready()
        begun_s = time.process_time()
        cpu.seconds.clear()
        _say(READY)
        running = asyncio.ensure_future(worker.run_until_stopped())
        done, _ = await asyncio.wait({running, gone}, return_when=asyncio.FIRST_COMPLETED)
        if running in done:
            running.result()
        running.cancel()
        spent_s = time.process_time() - begun_s
        _say(orjson.dumps(_seconds(cpu, spent_s)).decode())
    finally:
        await worker.stop()


def _seconds(cpu: StageCpu, spent_s: float) -> dict[str, float]:
    """Return what each stage took, and under `runtime` what no stage did."""
    stages = {stage: seconds for stage, seconds in cpu.seconds.items() if stage}
    return {**stages, "runtime": max(0.0, spent_s - sum(stages.values()))}


def _say(line: str) -> None:
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main())
