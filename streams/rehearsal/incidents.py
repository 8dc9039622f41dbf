"""What befalls workers and broker, by plan, and how everything heals in the end."""

from collections.abc import Callable
from typing import Final

from batuta.streams.rehearsal.network import Refusal
from batuta.streams.rehearsal.plan import Incident, IncidentKind, Weather
from batuta.streams.rehearsal.world import Worker, World

__all__ = ["Fate"]

_MESSAGE_TOO_LARGE: Final = 10
_INVALID_RECORD: Final = 87
_REFUSALS_MAX: Final = 14
#: Far less than any horizon of the pipelines', far more than any timeout.
_JUMP_MS_MAX: Final = 43_200_000
#: A broker that comes to no write is killed all the same.
_KILL_WITHIN_S: Final = 3.0
_WRITES_MAX: Final = 60
_LEAVE_WITHIN_S: Final = 20.0


class Fate:
    """Carries out a plan's incidents in a world."""

    def __init__(self, world: World) -> None:
        self._world = world
        self._healed = False
        self._acts: dict[IncidentKind, Callable[[Incident, Worker], None]] = {
            "crash": self._crash,
            "freeze": self._freeze,
            "leave": self._leave,
            "torn_write": self._tear,
            "refused_output": self._refuse,
            "clock_jump": self._jump,
        }

    def begin(self) -> None:
        """Let the weather and the incidents come."""
        world = self._world
        world.network.weather = world.plan.weather
        for incident in world.plan.incidents:
            world.loop.call_later(incident.at_s, self._happen, incident)

    def heal(self) -> None:
        """End all trouble: what stands still goes on, what is down comes up."""
        world = self._world
        self._healed = True
        world.network.weather, world.network.refusal = Weather(), None
        world.house.disarm()
        if world.house.broker is None:
            world.house.start()
        for worker in [*world.workers, *world.former]:
            worker.process.after_calls(0, None)
            worker.skew_ms = 0
            if worker.process.frozen:
                worker.process.thaw()
        while len(world.workers) < world.plan.workers:
            world.start_worker()

    def _happen(self, incident: Incident) -> None:
        workers = self._world.workers
        if workers and not self._healed:
            self._acts[incident.kind](incident, workers[incident.worker % len(workers)])

    def _later(self, after_s: float, act: Callable[[], None]) -> None:
        """Act later, unless everything has healed by then."""
        self._world.loop.call_later(after_s, lambda: None if self._healed else act())

    def _crash(self, incident: Incident, worker: Worker) -> None:
        """Kill a worker at one of its next awaits; another one starts later."""

        def fall() -> None:
            if worker in self._world.workers:
                self._world.happenings.fault("crash", worker.name)
                self._world.kill_worker(worker)
                self._later(incident.lasts_s, self._fill_up)

        worker.process.after_calls(incident.calls, fall)

    def _freeze(self, incident: Incident, worker: Worker) -> None:
        """Stop a worker where it stands; it comes back, past its session or not."""

        def stand_still() -> None:
            if worker in self._world.workers:
                self._world.happenings.fault("freeze", worker.name)
                worker.process.freeze()
                self._later(incident.lasts_s, worker.process.thaw)

        worker.process.after_calls(incident.calls, stand_still)

    def _leave(self, incident: Incident, worker: Worker) -> None:
        """Let a worker leave in good order, and another one come."""
        if not worker.process.frozen:
            self._world.happenings.fault("leave", worker.name)
            self._world.stop_worker(worker)
            self._later(incident.lasts_s, self._fill_up)
            self._later(_LEAVE_WITHIN_S, worker.process.kill)

    def _fill_up(self) -> None:
        if len(self._world.workers) < self._world.plan.workers:
            self._world.start_worker()

    def _tear(self, incident: Incident, worker: Worker) -> None:
        """Kill the broker inside a write; it starts again on what is left."""
        del worker
        house = self._world.house
        if house.broker is not None:
            house.kill_inside_a_write(1 + incident.calls % _WRITES_MAX, incident.size)
            self._later(_KILL_WITHIN_S, house.kill)
            self._later(_KILL_WITHIN_S + incident.lasts_s, house.start)

    def _refuse(self, incident: Incident, worker: Worker) -> None:
        """Let the broker refuse some outputs."""
        del worker
        world = self._world
        kept = frozenset[str]().union(*(play.kept for play in world.plays))
        world.network.refusal = Refusal(
            frozenset(world.topics) - kept,
            _MESSAGE_TOO_LARGE if incident.worker % 2 else _INVALID_RECORD,
            1 + int(incident.size * _REFUSALS_MAX),
        )

    def _jump(self, incident: Incident, worker: Worker) -> None:
        """Let a worker's wall clock jump, and back."""
        self._world.happenings.fault("clock_jump", worker.name)
        worker.skew_ms = int((2 * incident.size - 1) * _JUMP_MS_MAX)

        def jump_back() -> None:
            worker.skew_ms = 0

        self._later(incident.lasts_s, jump_back)
