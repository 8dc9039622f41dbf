"""The files a deployment is made of, checked as far as that goes without a container engine."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Final, TypedDict, cast

import pytest
import yaml

from batuta.streams.settings import Settings, load_settings

ROOT: Final = Path(__file__).parents[2]
COMPOSE: Final = ROOT / "docker-compose.yml"
DOCKERFILE: Final = ROOT / "deploy" / "Dockerfile"
DOCKERIGNORE: Final = ROOT / ".dockerignore"
GRAFANA: Final = ROOT / "deploy" / "grafana"


class Service(TypedDict):
    """What these tests read of a service; not every service has every key."""

    image: str
    ports: list[str]
    volumes: list[str]
    environment: dict[str, str]
    command: list[str]
    profiles: list[str]
    healthcheck: dict[str, object]
    depends_on: dict[str, dict[str, str]] | list[str]
    stop_grace_period: str
    build: dict[str, str]


def services() -> dict[str, Service]:
    compose = cast("dict[str, object]", yaml.safe_load(COMPOSE.read_text()))
    return cast("dict[str, Service]", compose["services"])


def copied() -> list[str]:
    """Return what the Dockerfile takes from the working copy."""
    lines = re.findall(r"^COPY (?!--from)(.+)$", DOCKERFILE.read_text(), flags=re.MULTILINE)
    return [source for line in lines for source in line.split()[:-1]]


def environment_of_the_image() -> dict[str, str]:
    text = DOCKERFILE.read_text().replace("\\\n", " ")
    last_stage = text[text.rindex("\nFROM ") :]
    pairs = re.findall(r"^ENV (.+)$", last_stage, flags=re.MULTILINE)
    return dict(pair.split("=", 1) for line in pairs for pair in line.split())


def test_compose_holds_to_its_schema(tmp_path: Path) -> None:
    command = [
        *(sys.executable, "-m", "check_jsonschema"),
        *("--builtin-schema", "vendor.compose-spec"),
    ]
    good = subprocess.run([*command, COMPOSE], capture_output=True, check=False)
    assert good.returncode == 0, good.stdout.decode()
    spoilt = tmp_path / "docker-compose.yml"
    spoilt.write_text(COMPOSE.read_text().replace("profiles: [sample]", "profile: sample"))
    bad = subprocess.run([*command, spoilt], capture_output=True, check=False)
    assert bad.returncode == 1, "the schema would let a misspelt key through"


@pytest.mark.parametrize("name", services())
def test_published_ports_are_bound_to_loopback(name: str) -> None:
    for port in services()[name].get("ports", []):
        assert port.startswith("127.0.0.1:")


@pytest.mark.parametrize("name", services())
def test_images_are_pinned_or_built_here(name: str) -> None:
    service = services()[name]
    if "build" in service:
        assert (ROOT / service["build"]["dockerfile"]) == DOCKERFILE
    else:
        assert re.search(r":v?\d+\.\d+\.\d+$", service["image"])


@pytest.mark.parametrize("name", services())
def test_every_mounted_file_exists(name: str) -> None:
    for volume in services()[name].get("volumes", []):
        source = volume.split(":")[0]
        if source.startswith("."):
            assert (ROOT / source).exists(), source
            assert volume.endswith(":ro"), "what is shipped is not written to"


def test_every_named_volume_and_dependency_is_declared() -> None:
    compose = cast("dict[str, dict[str, object]]", yaml.safe_load(COMPOSE.read_text()))
    for name, service in services().items():
        for volume in service.get("volumes", []):
            source = volume.split(":")[0]
            assert source.startswith(".") or source in compose["volumes"], (name, source)
        assert set(service.get("depends_on", ())) <= set(services())


def test_grafana_has_no_password_of_its_own_and_lets_nobody_in_unasked() -> None:
    environment = services()["grafana"]["environment"]
    assert environment["GF_SECURITY_ADMIN_PASSWORD"].startswith("${GRAFANA_PASSWORD:?")
    assert environment["GF_AUTH_ANONYMOUS_ENABLED"] == "false"
    assert environment["GF_USERS_ALLOW_SIGN_UP"] == "false"


def test_the_worker_may_drain_before_it_is_killed() -> None:
    grace_s = int(services()["worker"]["stop_grace_period"].removesuffix("s"))
    assert grace_s * 1000 > load_settings().drain_timeout_ms


def test_prometheus_looks_where_the_image_listens() -> None:
    config = cast(
        "dict[str, list[dict[str, list[dict[str, object]]]]]",
        yaml.safe_load((ROOT / "deploy" / "prometheus" / "prometheus.yml").read_text()),
    )
    (job,) = config["scrape_configs"]
    (found,) = job["dns_sd_configs"]
    assert found["names"] == ["worker"]
    assert str(found["port"]) == environment_of_the_image()["BATUTA_METRICS_PORT"]
    assert f"EXPOSE {found['port']}" in DOCKERFILE.read_text()


def test_every_batuta_variable_is_a_setting() -> None:
    named = {*environment_of_the_image(), *services()["worker"]["environment"]}
    known = {f"BATUTA_{name}".upper() for name in Settings.model_fields}
    assert {name for name in named if name.startswith("BATUTA_")} <= known


def test_generate_is_asked_for_and_ends_by_itself() -> None:
    generate = services()["generate"]
    assert generate["profiles"] == ["sample"]
    assert generate["command"][:2] == ["generate", "fraud"]


def test_what_the_image_copies_exists_and_is_not_ignored() -> None:
    rules = [line for line in DOCKERIGNORE.read_text().splitlines() if line and line[0] != "#"]
    assert rules[0] == "*", "everything is left out but what is named"
    named = {rule.removeprefix("!") for rule in rules if rule.startswith("!")}
    assert set(copied()) == named
    assert {"schemas", "agents", "streams", "pyproject.toml", "uv.lock"} <= named
    for source in copied():
        assert (ROOT / source).exists(), source


def test_the_image_runs_without_root_and_off_the_working_directory() -> None:
    text = DOCKERFILE.read_text()
    users = re.findall(r"^USER (.+)$", text, flags=re.MULTILINE)
    assert users == ["10001:10001"]
    assert environment_of_the_image()["PYTHONSAFEPATH"] == "1"
    assert "/readyz" in text[text.index("HEALTHCHECK") :]


def test_the_health_check_is_python_that_compiles() -> None:
    found = re.search(r"HEALTHCHECK[^\[]+(\[.+\])", DOCKERFILE.read_text())
    assert found is not None
    interpreter, option, code = cast("list[str]", json.loads(found[1]))
    assert (interpreter, option) == ("python", "-c")
    compile(code, "healthcheck", "exec")


def test_grafana_finds_its_dashboard_and_its_source() -> None:
    board = cast("dict[str, object]", json.loads((GRAFANA / "dashboards/batuta.json").read_bytes()))
    sources = cast(
        "dict[str, list[dict[str, str]]]",
        yaml.safe_load((GRAFANA / "provisioning/datasources/prometheus.yml").read_text()),
    )
    (source,) = sources["datasources"]
    used = set(re.findall(r'"uid": "(batuta-\w+)"', json.dumps(board)))
    assert used == {source["uid"]}
    assert source["url"] == "http://prometheus:9090"
    mounted = services()["grafana"]["volumes"]
    provider = (GRAFANA / "provisioning/dashboards/batuta.yml").read_text()
    folder = "/var/lib/batuta/dashboards"
    assert f"path: {folder}" in provider
    assert f"./deploy/grafana/dashboards:{folder}:ro" in mounted


def test_panels_have_their_own_ids_and_places() -> None:
    board = cast("dict[str, object]", json.loads((GRAFANA / "dashboards/batuta.json").read_bytes()))
    panels = cast("list[dict[str, object]]", board["panels"])
    assert len({panel["id"] for panel in panels}) == len(panels)
    taken: set[tuple[int, int]] = set()
    for panel in panels:
        place = cast("dict[str, int]", panel["gridPos"])
        assert place["x"] + place["w"] <= 24
        cells = {
            (x, y)
            for x in range(place["x"], place["x"] + place["w"])
            for y in range(place["y"], place["y"] + place["h"])
        }
        assert not cells & taken, panel["title"]
        taken |= cells
        if panel["type"] != "row":
            assert panel["description"], "every panel says what it shows"
