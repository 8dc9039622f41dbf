"""Models served over the Open Inference Protocol v2 (REST): MLServer, Triton, KServe and others.

    POST <url>/v2/models/<model>[/versions/<version>]/infer
    {"inputs": [{"name": "inputs", "datatype": "FP32", "shape": [rows, features], "data": [...]}]}

Rows of several lanes travel together (`micro_batches`). Of the reply one output is read: a number
per row, or two probabilities, the second of which counts. A row whose number is none, or not from 0
to 1, has no answer; a reply of any other shape answers no row.
"""

from dataclasses import dataclass, field
from typing import Final, Self, cast

import numpy as np

from batuta.agents.models.answers import Answers, Scores, Usage
from batuta.agents.models.port import Matrix
from batuta.agents.models.prices import Price
from batuta.schemas.errors import FailureKind, ModelFailedError
from batuta.streams.adapters.http_calls import Endpoint, HttpCalls
from batuta.streams.adapters.micro_batches import BatchLimits, MicroBatches

__all__ = ["OpenInferenceModel", "OpenInferencePlan"]

_NUMBERS: Final = frozenset({"FP16", "FP32", "FP64"})
_COLUMNS_MAX: Final = 2


@dataclass(frozen=True, slots=True)
class OpenInferencePlan:
    """What a pipeline says of the model.

    Attributes:
        name: as the pipeline names it.
        inputs: feature names, in order.
        served_as: its name on the server.
        served_version: the version asked for, empty for whichever the server prefers.
        input_name: what its tensor is called on the server.
        output: which of the outputs is the score; empty for the last.
        price: of one row's answer.
        limits: when a request leaves.
    """

    name: str
    inputs: tuple[str, ...]
    served_as: str
    served_version: str = ""
    input_name: str = "inputs"
    output: str = ""
    price: Price = field(default_factory=Price)
    limits: BatchLimits = field(default_factory=BatchLimits)


class OpenInferenceModel:
    """A Model behind an inference server.

    Attributes:
        name, inputs: as the pipeline says.
        version: `name@` and the version asked for, or `name@served`.
    """

    def __init__(self, endpoint: Endpoint, plan: OpenInferencePlan) -> None:
        self.name = plan.name
        self.version = f"{plan.name}@{plan.served_version or 'served'}"
        self.inputs = plan.inputs
        self._plan = plan
        self._calls = HttpCalls(endpoint)
        self._batches = MicroBatches(self._ask, plan.limits)
        version = f"/versions/{plan.served_version}" if plan.served_version else ""
        self._path = f"/v2/models/{plan.served_as}{version}/infer"

    async def answer(self, inputs: Matrix) -> Answers:
        """Return one score per row of `inputs` (rows, len(self.inputs)).

        Raises:
            ModelFailedError: the server did not answer, or not with what was asked for.
        """
        return await self._batches.answer(inputs) if len(inputs) else Answers(np.empty(0))

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    async def close(self) -> None:
        """Close the connections."""
        await self._batches.close()
        await self._calls.close()

    async def _ask(self, rows: Matrix) -> Answers:
        tensor = {
            "name": self._plan.input_name,
            "datatype": "FP32",
            "shape": list(rows.shape),
            "data": np.ascontiguousarray(rows, np.float32).ravel(),
        }
        reply = await self._calls.post(self._path, {"inputs": [tensor]})
        scores = self._scores(reply, len(rows))
        fit = (scores >= 0.0) & (scores <= 1.0)  # NaN is neither
        failures: dict[int, FailureKind] = dict.fromkeys(np.flatnonzero(~fit).tolist(), "invalid")
        price = self._plan.price
        return Answers(
            np.where(fit, scores, np.nan),
            failures=failures,
            usage=Usage(requests=1),
            cost_nano=price.of(len(rows)),
            currency=price.currency,
        )

    def _scores(self, reply: dict[str, object], rows: int) -> Scores:
        wanted, served = self._plan.served_version, reply.get("model_version")
        if wanted and served is not None and served != wanted:
            raise _invalid(f"version {str(served)[:40]!r} answered, {wanted!r} was asked for")
        output = self._output(reply)
        if output.get("datatype") not in _NUMBERS:
            raise _invalid(f"the output is {str(output.get('datatype'))[:40]}, not FP32 or FP64")
        shape = output.get("shape")
        if not isinstance(shape, list) or not _fits(cast("list[object]", shape), rows):
            raise _invalid(f"{rows} rows are answered with the shape {str(shape)[:40]}")
        data = output.get("data")
        if not isinstance(data, list):
            raise _invalid("the output has no data")
        numbers = _numbers(cast("list[object]", data))
        columns = shape[1] if len(shape) > 1 else 1
        if numbers.size != rows * columns:
            raise _invalid(f"{numbers.size} numbers for the shape {shape}")
        return numbers.reshape(rows, columns)[:, -1]

    def _output(self, reply: dict[str, object]) -> dict[str, object]:
        outputs = reply.get("outputs")
        if isinstance(outputs, list):
            known = [cast("dict[str, object]", one) for one in outputs if isinstance(one, dict)]
            name = self._plan.output
            fitting = [one for one in known if one.get("name") == name] if name else known
            if fitting:
                return fitting[-1]
        raise _invalid(f"the reply has no output {self._plan.output}".rstrip())


def _numbers(data: list[object]) -> Scores:
    try:
        found = np.asarray(data)
        # null, as servers write NaN, becomes NaN; a text that looks like a number stays a text.
        nulls = found.dtype == np.object_ and all(
            one is None or isinstance(one, int | float) for one in found.flat
        )
        if nulls or found.dtype.kind in "fiu" or not found.size:
            return found.astype(np.float64)
    except (TypeError, ValueError):
        pass
    raise _invalid("the data are not numbers")


def _fits(shape: list[object], rows: int) -> bool:
    if not all(isinstance(size, int) and not isinstance(size, bool) for size in shape):
        return False
    return shape[:1] == [rows] and (
        len(shape) == 1 or (len(shape) == 2 and shape[1] in range(1, _COLUMNS_MAX + 1))  # noqa: PLR2004
    )


def _invalid(what: str) -> ModelFailedError:
    return ModelFailedError("invalid", what)
