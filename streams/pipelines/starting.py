"""A new pipeline's folder: a file, its parts, a test and a page, which run as they are.

The example is of orders, since everybody knows one; its texts are here to be changed. A test makes
the folder and runs it, so that what is written here works.
"""

import re
from collections.abc import Mapping
from pathlib import Path
from string import Template
from typing import Final

from batuta.schemas.errors import UsageError

__all__ = ["start_pipeline"]

_NAME: Final = re.compile(r"[a-z][a-z0-9_]{0,47}")

_FILE: Final = """\
# The pipeline $name: which orders are taken, looked at, or held. batuta's docs/pipeline-file.md has
# every key; `batuta plan ./$name/pipeline.yaml` says what is wrong, and what becomes of the file.
pipeline: $name
version: 1
source:
  schema: "${name}_parts:Order"
  id: order_id
  key: customer_id
  time: ordered_at

understand:
  - customer: {by: customer_id, count: [1h, 1d], mean: {amount: [1d]}}
  - context: {large: "amount > 200.0"}

models:
  estimate:
    adapter: python
    use: "${name}_parts:Estimate"
    inputs: [amount, customer]
    timeout: 5s

decide:
  - {when: "score >= 0.9 && large", outcome: block, action: hold_order, reason: far_too_large}
  - {when: "score >= 0.5", outcome: review, reason: too_large}
  - {otherwise: approve}

actions:
  hold_order: {version: 1}

escalate: {queue: ${name}_review, due: 2h}

notify:
  - {when: "outcome == 'block'", severity: critical, title: was held}

samples: "${name}_parts:samples"
"""

_PARTS: Final = '''\
"""The parts of the pipeline $name: its events, its model, its samples."""

import random
from collections.abc import Callable, Iterator
from typing import Annotated

import numpy as np
import numpy.typing as npt
from batuta.agents.samples import SampleEvent
from batuta.schemas.times import EventTime, rfc3339
from pydantic import BaseModel, Field

Name = Annotated[str, Field(min_length=1, max_length=64)]


class Order(BaseModel):
    """What a customer ordered; mean windows ask for a bound on `amount`."""

    order_id: Name
    customer_id: Name
    ordered_at: EventTime
    amount: Annotated[float, Field(ge=0, le=1_000_000)]


class Estimate:
    """How far an order is above what its customer usually orders. Put your model here."""

    def answer(self, inputs: npt.NDArray[np.float32]) -> npt.NDArray[np.float64]:
        """Return one score from 0 to 1 per row of the file's inputs, in their order."""
        amount, _, _, usual = inputs.astype(np.float64).T
        return np.clip(amount / np.maximum(usual, 1.0) - 1.0, 0.0, 4.0) / 4.0


def samples(
    seed: int, now_ms: int, clock: Callable[[], int] | None = None
) -> Iterator[SampleEvent]:
    """Yield orders without end, one a minute; one in a hundred is a giant."""
    dice = random.Random(seed)
    number = 0
    while True:
        time_ms = clock() if clock else now_ms - 86_400_000 + 60_000 * (number % 1_440)
        customer = dice.randrange(30)
        giant = dice.random() < 0.01
        factor = dice.uniform(3.0, 20.0) if giant else dice.uniform(0.5, 1.5)
        amount = (20.0 + 3.0 * customer) * factor
        order = Order(
            order_id=f"o-{seed}-{number}",
            customer_id=f"c-{seed}-{customer}",
            ordered_at=rfc3339(time_ms),
            amount=round(amount, 2),
        )
        data = order.model_dump_json().encode()
        yield SampleEvent(order.order_id, order.customer_id, data, b"{}", giant)
        number += 1
'''

_TEST: Final = '''\
"""The parts of $name keep what batuta's ports promise, and its file means what it says."""

import json
from itertools import islice
from pathlib import Path

import numpy as np
from batuta.streams.pipelines.loading import load_file
from batuta.streams.testing import check_model, check_samples, check_schema
from ${name}_parts import Estimate, Order, samples

NOW_MS = 1_767_225_600_000


def test_the_file_is_right() -> None:
    plan = load_file(Path(__file__).parent / "pipeline.yaml").loaded.plan
    assert plan.pipeline.name == "$name"
    assert plan.inputs["estimate"][0] == "amount"


def test_an_order_is_read_as_it_was_written() -> None:
    events = [sample.data for sample in islice(samples(1, NOW_MS), 3)]
    check_schema(Order, [json.loads(data) for data in events])


def test_the_model_answers_as_models_do() -> None:
    check_model(Estimate(), inputs=4)


def test_a_giant_order_scores_higher() -> None:
    usual, giant = Estimate().answer(np.array([[60, 1, 9, 60], [900, 1, 9, 60]], np.float32))
    assert usual == 0.0
    assert giant > 0.9


def test_samples_are_orders_and_the_same_each_time() -> None:
    check_samples(samples, Order, NOW_MS)
'''

_PAGE: Final = """\
# $name

A pipeline of [batuta](https://pypi.org/project/batuta/), made by `batuta init $name`.

| file | holds |
|---|---|
| `pipeline.yaml` | what the pipeline is |
| `${name}_parts.py` | the schema of its events, its model, its sample events |
| `test_$name.py` | a test of these, for `pytest $name` |

See it at work on sample events; what becomes of the file; what becomes of it as a drawing:

```sh
batuta demo ./$name/pipeline.yaml --events 5000
batuta plan ./$name/pipeline.yaml
batuta plan ./$name/pipeline.yaml --graph svg > $name.svg
```

On Kafka, a worker, and events from `batuta generate` or from any client of yours, as JSON keyed by
`customer_id`, on the topic `$name.events`:

```sh
batuta worker ./$name/pipeline.yaml --bootstrap 127.0.0.1:9092
batuta generate ./$name/pipeline.yaml --events 1000 --bootstrap 127.0.0.1:9092
```

To make it yours: change `Order` in `${name}_parts.py` to what your events are, `source` and
`understand` in `pipeline.yaml` to what is to be known of them, and `Estimate` to your model. Each
step: `batuta plan ./$name/pipeline.yaml`, which names line, field, value and remedy.
"""

_FILES: Final[Mapping[str, str]] = {
    "pipeline.yaml": _FILE,
    "${name}_parts.py": _PARTS,
    "test_${name}.py": _TEST,
    "README.md": _PAGE,
}


def start_pipeline(name: str, parent: Path, taken: frozenset[str]) -> list[Path]:
    """Make the folder of a new pipeline.

    Args:
        name: of the pipeline and of its folder.
        parent: where the folder is made.
        taken: names that are pipelines already.

    Returns:
        The files.

    Raises:
        UsageError: the name is none, or taken; or the folder cannot be made.
    """
    _check(name, taken)
    folder = parent / name
    try:
        folder.mkdir()
    except FileExistsError as error:
        remedy = "choose another name, or move what is there"
        raise UsageError(f"{folder} is there already; {remedy}") from error
    except OSError as error:
        raise UsageError(f"cannot make {folder}: {error.strerror or error}") from error
    made: list[Path] = []
    for title, text in _FILES.items():
        path = folder / Template(title).substitute(name=name)
        path.write_text(Template(text).substitute(name=name), "utf-8")
        made.append(path)
    return made


def _check(name: str, taken: frozenset[str]) -> None:
    if _NAME.fullmatch(name) is None:
        near = re.sub(r"[^a-z0-9_]+", "_", name.lower()).strip("_0123456789")[:48]
        guess = f', for example "{near}"' if _NAME.fullmatch(near) else ""
        rule = "lower case letters, digits and _, a letter first, at most 48"
        raise UsageError(f"{name!r} is no name of a pipeline; write {rule}{guess}")
    if name in taken:
        raise UsageError(f"{name} is a pipeline that ships with batuta; choose another name")
