"""The lists of dependencies agree: pyproject.toml, requirements.lock and environment.yml."""

import re
import sys
import tomllib
from pathlib import Path

import pytest
import yaml
from packaging.requirements import Requirement

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT / "tools"))

from environment_yml import environment  # noqa: E402

LOCK = (ROOT / "requirements.lock").read_text()


def direct() -> list[Requirement]:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    groups = [project["dependencies"], *project["optional-dependencies"].values()]
    return [Requirement(line) for group in groups for line in group]


def pins(lines) -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    for line in lines:
        if match := re.match(r"([\w.-]+)==([^\s;]+)", line):
            found.setdefault(match[1], []).append(match[2])
    return found


@pytest.mark.parametrize("requirement", direct(), ids=str)
def test_lock_pins_what_pyproject_asks(requirement):
    versions = pins(LOCK.splitlines()).get(requirement.name)
    assert versions, f"{requirement.name} is not in requirements.lock: run `make lock`"
    for version in versions:
        assert version in requirement.specifier, f"{requirement} is locked at {version}"


def test_environment_yml_is_the_same_set():
    content = yaml.safe_load((ROOT / "environment.yml").read_text())
    (listed,) = [d["pip"] for d in content["dependencies"] if isinstance(d, dict)]
    conda = pins(listed)
    assert set(conda) == {r.name for r in direct()}
    locked = pins(LOCK.splitlines())
    for name, (version,) in conda.items():
        assert version in locked[name], (
            f"{name}: {version} in environment.yml, {locked[name]} locked"
        )


def test_environment_yml_is_up_to_date():
    assert (ROOT / "environment.yml").read_text() == environment(), "run `make lock`"


def test_lock_names_no_place():
    """No registry, no local file, no build of one machine: only names, versions and markers."""
    for line in LOCK.splitlines():
        assert not re.search(r"https?:|file:|://|--(extra-)?index|--find-links|\+cpu", line), line
        assert re.match(r"\s*#|[\w.-]+==[\w.!+-]+( ; .+)?$", line), line
