# Shortcuts; each is one line that can as well be typed. `just` alone lists them.

_list:
    @just --list --unsorted

# install everything and show the main job
get-started:
    uv run batuta demo fraud

# what must hold before a commit: seconds
check:
    uv run ruff check .
    uv run ruff format --check .
    uv run mypy -p batuta.schemas -p batuta.agents -p batuta.streams
    uv run pyright --pythonpath .venv/bin/python
    uv run pytest -q tests/unit tests/house --deselect tests/house/test_tools.py

# let ruff put in order what it can
tidy:
    uv run ruff check --fix .
    uv run ruff format .

# all tests, as continuous integration runs them; words go to pytest: just test -k lanes
test *words:
    uv run pytest {{ words }}

# what needs no Apache Kafka
test-quick:
    uv run pytest -m "not apache_kafka and not slow"

# a bare machine to a tested one
ci:
    .ci/run
