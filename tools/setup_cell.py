"""Put the set-up cell, the same in all chapters, into every notebook that lacks it or has another.

The cell does nothing where the package is installed. On a bare machine such as Colab it fetches the
project and leaves the rest to `tools/bare_machine.py`. The book doesn't show it.
"""

import json
from pathlib import Path

import yaml

ROOT = Path(__file__).resolve().parent.parent


def repository() -> str:
    """The address of the project's repository, which only _config.yml holds."""
    return yaml.safe_load((ROOT / "_config.yml").read_text())["repository"]["url"]


def setup_cell() -> dict:
    """The cell as notebooks store it."""
    source = f"""\
try:  # missing on a bare machine such as Colab: fetch the project with its stored results
    import toscore  # noqa: F401
except ModuleNotFoundError:
    !git clone -q --depth 1 {repository()} toscore-book
    %cd -q toscore-book/notebooks
    %run ../tools/bare_machine.py"""
    return {
        "cell_type": "code",
        "execution_count": None,
        "id": "setup",
        "metadata": {"tags": ["remove-cell"]},
        "outputs": [],
        "source": source.splitlines(keepends=True),
    }


def with_setup_cell(notebook: dict) -> dict:
    """The notebook with the cell after its title, in place of an older one."""
    first, *rest = [cell for cell in notebook["cells"] if cell["id"] != "setup"]
    return notebook | {"cells": [first, setup_cell(), *rest]}


def main() -> None:
    for path in sorted(ROOT.glob("notebooks/*.ipynb")):
        notebook = with_setup_cell(json.loads(path.read_text()))
        path.write_text(json.dumps(notebook, indent=1, ensure_ascii=False) + "\n")


if __name__ == "__main__":
    main()
