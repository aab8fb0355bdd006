"""Write environment.yml: the direct dependencies of pyproject.toml at the versions of the lock."""

import re
import tomllib
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
PYTHON = "3.11"


def direct_names() -> list[str]:
    """Names of all direct dependencies, every group included, sorted."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    groups = [project["dependencies"], *project["optional-dependencies"].values()]
    return sorted({re.match(r"[\w.-]+", line)[0] for group in groups for line in group})


def locked() -> dict[str, str]:
    """Version of every package in the lock for Python 3.11 (the first where it forks)."""
    versions: dict[str, str] = {}
    for line in (ROOT / "requirements.lock").read_text().splitlines():
        if found := re.match(r"([\w.-]+)==(\S+)", line):
            versions.setdefault(found[1], found[2])
    return versions


def environment() -> str:
    """The text of environment.yml."""
    versions = locked()
    pins = "\n".join(f"      - {name}=={versions[name]}" for name in direct_names())
    return f"""# The same set as requirements.lock, for conda users. Written by `make lock`; then:
#   conda env create -f environment.yml && conda activate toscore && pip install --no-deps -e .
name: toscore
channels:
  - conda-forge
dependencies:
  - python={PYTHON}
  - pip
  - make
  - pip:
{pins}
"""


if __name__ == "__main__":
    (ROOT / "environment.yml").write_text(environment())
