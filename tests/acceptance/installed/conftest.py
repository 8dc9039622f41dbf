"""batuta as its users have it: built as a wheel, installed with its locked dependencies, elsewhere.

One environment serves the session. It is made offline, from what `uv sync` has downloaded.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Mapping

ROOT = Path(__file__).parents[3]
ROOMS = ("schemas", "agents", "streams")
BUILD = "import sys, setuptools.build_meta as b; b.build_wheel(sys.argv[1], {})"
#: What a user has beside batuta to run a test with.
PYTEST = ("pytest", "_pytest", "py", "pluggy", "iniconfig", "packaging", "pygments")


@dataclass(frozen=True)
class Installed:
    """An environment with batuta in it, and no checkout."""

    environment: Path

    @property
    def python(self) -> Path:
        return self.environment / "bin" / "python"

    def run(
        self, folder: Path, *words: str | Path, **settings: str
    ) -> subprocess.CompletedProcess[str]:
        """Run a command of the environment in `folder`; `settings` become its environment."""
        command, *rest = words
        return subprocess.run(
            [self.environment / "bin" / command, *rest],
            cwd=folder,
            env=self.variables(settings),
            capture_output=True,
            text=True,
            timeout=240,
            check=False,
        )

    def start(self, folder: Path, *words: str | Path) -> subprocess.Popen[bytes]:
        """Start a command of the environment."""
        command, *rest = words
        with (folder / "started.log").open("wb") as log:
            return subprocess.Popen(
                [self.environment / "bin" / command, *rest],
                cwd=folder,
                env=self.variables({}),
                stdout=log,
                stderr=subprocess.STDOUT,
            )

    def add(self, project: Path) -> None:
        """Build a project and install it beside batuta."""
        uv("pip", "install", "-q", "--offline", "--no-deps", "-p", self.python, wheel(project))

    def variables(self, settings: Mapping[str, str]) -> dict[str, str]:
        """Return the shell's variables without what is ours or this environment's."""
        ours = ("BATUTA_", "PYTHON", "PYTEST_", "VIRTUAL_ENV", "UV")
        clean = {name: value for name, value in os.environ.items() if not name.startswith(ours)}
        home = str(self.environment / "home")
        return {**clean, "NO_COLOR": "1", "BATUTA_MODEL_DIR": home, **settings}


def uv(*words: str | Path, **settings: str) -> None:
    tool = os.environ.get("UV") or shutil.which("uv")
    if tool is None:
        missing = "BATUTA WAS NOT TESTED AS INSTALLED: uv is not on the PATH"
        (pytest.fail if os.environ.get("CI") else pytest.skip)(missing)
    environment = {name: value for name, value in os.environ.items() if name != "VIRTUAL_ENV"}
    done = subprocess.run(
        [tool, *words],
        cwd=ROOT,
        env={**environment, **settings},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr


def wheel(project: Path) -> Path:
    """Build a wheel as a build front end does; `project` is a copy, since a build leaves traces."""
    target = project / "dist"
    target.mkdir()
    command = [sys.executable, "-c", BUILD, str(target)]
    done = subprocess.run(command, cwd=project, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return next(target.glob("*.whl"))


@pytest.fixture(scope="session")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Installed:
    """batuta, built and installed."""
    place = tmp_path_factory.mktemp("installed")
    copy = place / "copy"
    copy.mkdir()
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, copy)
    for room in ROOMS:
        shutil.copytree(ROOT / room, copy / room, ignore=shutil.ignore_patterns("__pycache__"))
    environment = place / "environment"
    uv(
        *("sync", "-q", "--frozen", "--offline", "--no-dev", "--no-install-project"),
        *("-p", sys.executable),
        UV_PROJECT_ENVIRONMENT=str(environment),
    )
    found = Installed(environment)
    found.add(copy)
    (packages,) = environment.glob("lib/python*/site-packages")
    for name in PYTEST:
        spec = find_spec(name)
        assert spec is not None
        assert spec.origin
        source = Path(spec.origin)
        source = source.parent if source.name == "__init__.py" else source
        if not (packages / source.name).exists():
            (packages / source.name).symlink_to(source)
    return found
