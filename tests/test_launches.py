"""What takes the chapters elsewhere: the set-up cell of every notebook, and the workflows."""

import ast
import json
import re
import subprocess
import sys
from pathlib import Path

import bare_machine
import nbformat
import pytest
import yaml
from packaging.requirements import Requirement
from setup_cell import repository, setup_cell

ROOT = Path(__file__).resolve().parent.parent
NOTEBOOKS = sorted(ROOT.glob("notebooks/*.ipynb"))
WORKFLOWS = sorted(ROOT.glob(".github/workflows/*.yml"))
# what a chapter imports under another name than one installs, and what comes with those installed
PACKAGES = {"sklearn": "scikit-learn", "mpl_toolkits": "matplotlib", "contourpy": "matplotlib"}


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda p: p.stem)
def test_set_up_cell_is_the_same_everywhere(path):
    """It comes after the title, is not shown, and is what tools/setup_cell.py writes."""
    cells = json.loads(path.read_text())["cells"]
    assert cells[0]["cell_type"] == "markdown"
    assert cells[1] == setup_cell(), "run tools/setup_cell.py"
    assert [c["id"] for c in cells].count("setup") == 1


def test_set_up_cell_does_nothing_here():
    """Where the package is installed, nothing after `except` runs: no clone, no pip."""
    source = "".join(setup_cell()["source"])
    kept = source.partition("except")[0] + "except ModuleNotFoundError:\n    raise SystemExit(3)\n"
    assert subprocess.run([sys.executable, "-c", kept], cwd=ROOT).returncode == 0
    assert repository() in source


def test_bare_machine_installs_what_chapters_import():
    """Whatever a chapter imports is a requirement, comes with Python, or is there in Colab."""
    names = {Requirement(line).name for line in bare_machine.requirements()}
    there = {*sys.stdlib_module_names, "IPython", "toscore"}
    for path in NOTEBOOKS:
        for cell in json.loads(path.read_text())["cells"]:
            if cell["cell_type"] != "code" or cell["id"] == "setup":
                continue
            code = "".join(cell["source"])
            for node in ast.walk(ast.parse(code)):
                modules = [a.name for a in node.names] if isinstance(node, ast.Import) else []
                modules += [node.module] if isinstance(node, ast.ImportFrom) else []
                for module in {m.partition(".")[0] for m in modules}:
                    assert module in there or PACKAGES.get(module, module) in names, (
                        f"{path.name} imports {module}"
                    )


def test_bare_machine_finds_the_package_in_programs_too():
    """Chapter 15 starts `toscore` as a program: what the set-up finds, that must find."""
    code = (
        "import subprocess as s, sys; sys.path.insert(0, 'tools'); import bare_machine\n"
        "run, s.run = s.run, lambda *a, **k: None\n"  # pip stays out of it
        "bare_machine.main()\n"
        "where = 'import importlib.util as u; print(u.find_spec(\"toscore\").origin)'\n"
        "run([sys.executable, '-S', '-c', where], check=True, cwd='tests')"  # -S: nothing installed
    )
    command = [sys.executable, "-c", code]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout.strip().splitlines()[-1] == str(ROOT / "toscore" / "__init__.py")


@pytest.mark.parametrize("path", WORKFLOWS, ids=lambda p: p.stem)
def test_workflow(path):
    """It parses, pins its actions to major versions, and calls targets that the Makefile has."""
    workflow = yaml.safe_load(path.read_text())
    assert workflow[True], "no trigger"  # YAML 1.1 reads the key `on` as a truth value
    assert workflow["concurrency"]["group"]
    targets = set(re.findall(r"^([a-z]+):", (ROOT / "Makefile").read_text(), re.M))
    steps = [step for job in workflow["jobs"].values() for step in job["steps"]]
    called = [word for s in steps for word in re.findall(r"make ([a-z]+)", s.get("run", ""))]
    assert called and set(called) <= targets
    for step in steps:
        assert "uses" not in step or re.fullmatch(r"actions/[\w-]+@v\d+", step["uses"])


def test_workflows_publish_and_rerun():
    triggers = {p.stem: yaml.safe_load(p.read_text())[True] for p in WORKFLOWS}
    assert triggers["publish"]["push"]["branches"] == ["main"]
    assert triggers["monthly"]["schedule"]


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda p: p.stem)
def test_notebook_is_valid(path):
    """JupyterLab opens it as it is: no cell without an id, nothing the format doesn't know."""
    nbformat.validate(nbformat.read(path, as_version=4))
