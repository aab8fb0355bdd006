"""The reference: it lists every public call, and each docstring is whole and its example true."""

import ast
import dataclasses
import doctest
import importlib
import importlib.util
import inspect
import io
import re
import textwrap
from pathlib import Path

import matplotlib.pyplot as plt
import pytest

import toscore
from toscore import data, experiment, morse, plots, reproduce, sampling, surfaces, trends

ROOT = Path(__file__).resolve().parent.parent
PAGES = "".join(p.read_text() for p in sorted((ROOT / "book").glob("api*.md")))
# what their helpers raise they catch, or it can't happen to them
NEVER_RAISE = "toscore.data.check_data", "toscore.experiment.states", "toscore.trends.compare"
DIRECTIVE = re.compile(r"^\.\. auto\w+:: (\S+)(?:\n   :members: (.+))?$", re.MULTILINE)


def listed() -> list[str]:
    """Dotted names of all calls on the pages, methods and properties included."""
    names = []
    for name, members in DIRECTIVE.findall(PAGES):
        names += [name, *(f"{name}.{m}" for m in members.split(", ") if m)]
    return names


def resolve(name: str):
    """The object of a dotted name."""
    module, rest = toscore, name.split(".")[1:]
    if inspect.ismodule(getattr(module, rest[0], None)) or not hasattr(module, rest[0]):
        module, rest = importlib.import_module(f"toscore.{rest[0]}"), rest[1:]
    for part in rest:
        module = getattr(module, part)
    return module


def sections(doc: str) -> dict[str, str]:
    """The parts of a numpy docstring by name; what comes before the first is ''."""
    parts = re.split(r"^(\w+)\n-{3,}\n", inspect.cleandoc(doc), flags=re.MULTILINE)
    assert len(set(parts[1::2])) == len(parts[1::2]), "a section comes twice"
    return {"": parts[0]} | dict(zip(parts[1::2], parts[2::2], strict=True))


def described(section: str) -> list[str]:
    """The names that a section of parameters or attributes has entries for."""
    heads = re.findall(r"^(\S.*)$", section, re.MULTILINE)
    return [n.strip("* ") for head in heads for n in head.split(" : ")[0].split(",")]


def function_of(thing):
    """What runs when the thing is called or read, if it is Python of ours."""
    if isinstance(thing, property):
        return thing.fget
    if inspect.isclass(thing):
        return None if dataclasses.is_dataclass(thing) else vars(thing).get("__init__")
    return thing


def raised(thing, helper: bool = False, seen=None) -> set[str]:
    """Names of what a function raises; "a helper's" for what private ones it calls do."""
    seen = set() if seen is None else seen
    if thing in seen or not inspect.isfunction(thing):
        return set()
    seen.add(thing)
    names, home = set(), inspect.getmodule(thing)
    owner = getattr(home, thing.__qualname__.split(".")[0], None)
    for node in ast.walk(ast.parse(textwrap.dedent(inspect.getsource(thing)))):
        if isinstance(node, ast.Raise) and isinstance(node.exc, ast.Call):
            names.add("a helper's" if helper else node.exc.func.id)
        called = getattr(node, "func", None)
        name = getattr(called, "id", None) or getattr(called, "attr", "")
        if name.startswith("_") and not name.startswith("__"):
            inner = getattr(home, name, None) or getattr(owner, name, None)
            names |= raised(inner, True, seen)
    return names


def faults(name: str, thing, doc: str | None) -> list[str]:
    """What the docstring of a public call lacks."""
    if not doc:
        return ["it has no docstring"]
    parts, found = sections(doc), []
    sources = "".join(e.source for e in doctest.DocTestParser().get_examples(doc))
    if "Examples" not in parts or not sources:
        found.append("it has no example")
    elif not inspect.isclass(thing) and not re.search(rf"\b{name.split('.')[-1]}\b", sources):
        found.append("its example does not use it")
    if inspect.isclass(thing) and dataclasses.is_dataclass(thing):
        wanted = [f.name for f in dataclasses.fields(thing)]
        given = described(parts.get("Attributes", ""))
    elif isinstance(thing, property):
        wanted = given = []
        if ":" in parts[""].splitlines()[0]:
            found.append("napoleon takes what comes before a colon for its type")
    elif inspect.isclass(thing) and issubclass(thing, Exception):
        wanted = given = []
    else:
        wanted = [p for p in inspect.signature(thing).parameters if p != "self"]
        given = described(parts.get("Parameters", ""))
    if set(wanted) != set(given):
        found.append(f"its parameters are {wanted}, but {given} are described")
    names = raised(function_of(thing)) if name not in NEVER_RAISE else set()
    if names and "Raises" not in parts:
        found.append(f"it does not say that it raises {sorted(names)}")
    for fault in names - {"a helper's"}:
        kind = getattr(data, fault, None)
        kinds = [k.__name__ for k in kind.__mro__] if kind else [fault]
        if not any(k in parts.get("Raises", "") for k in kinds):
            found.append(f"it does not say that it raises {fault}")
    return found


def test_the_pages_list_every_public_call():
    things = [getattr(toscore, n) for n in vars(toscore) if not n.startswith("_")]
    things += [getattr(toscore, n) for n in toscore._OF_EXPERIMENTS]
    for module in (experiment, morse, plots, reproduce, sampling, surfaces, trends):
        things += [getattr(module, n) for n in module.__all__]
    things += [data.check_data, data.export_data]
    public = [x for x in things if inspect.isfunction(x) or inspect.isclass(x)]
    page = {id(resolve(n)) for n in listed()}
    assert [f"{x.__module__}.{x.__qualname__}" for x in public if id(x) not in page] == []
    assert len(listed()) == len(set(listed()))


@pytest.mark.parametrize("name", [n for n in listed() if inspect.isclass(resolve(n))])
def test_the_pages_list_every_method(name):
    kinds = (property, classmethod, staticmethod)
    members = {
        f"{name}.{key}"
        for key, x in vars(resolve(name)).items()
        if not key.startswith("_") and (inspect.isfunction(x) or isinstance(x, kinds))
    }
    assert members <= set(listed())


@pytest.mark.parametrize("name", listed())
def test_docstring_is_whole(name):
    thing = resolve(name)
    assert faults(name, thing, thing.__doc__) == []


@pytest.mark.parametrize("section", ["Examples", "Parameters", "Raises"])
def test_a_docstring_that_is_not_whole_is_noticed(section):
    call = toscore.Barcode.to_score
    doc = inspect.cleandoc(call.__doc__)
    cut = re.sub(rf"^{section}\n-+\n(?:(?!^\w+\n---).*\n?)*", "", doc, flags=re.MULTILINE)
    assert section in doc and section not in cut
    assert faults("toscore.Barcode.to_score", call, doc) == []
    assert len(faults("toscore.Barcode.to_score", call, cut)) >= 1


@pytest.mark.parametrize("name", listed())
def test_example_is_true(name, monkeypatch):
    """Each runs on its own, as a reader would copy it."""
    for key in ("TOSCORE_DATA", "TOSCORE_DOWNLOAD", "TOSCORE_PROFILE", "TOSCORE_RESULTS"):
        monkeypatch.delenv(key, raising=False)
    doc = resolve(name).__doc__
    test = doctest.DocTestParser().get_doctest(doc, {}, name, None, None)
    told = io.StringIO()
    with plt.rc_context():
        failed = doctest.DocTestRunner(verbose=False).run(test, out=told.write).failed
    plt.close("all")
    assert not failed, told.getvalue()


def test_the_pages_know_every_command_and_option():
    from typer.main import get_command
    from typer.testing import CliRunner

    from toscore.cli import app

    path = ROOT / "book" / "_ext" / "api.py"
    spec = importlib.util.spec_from_file_location("api", path)
    extension = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(extension)
    lines = list(extension.command_lines(get_command(app), "toscore"))
    commands = [line.split(":: ")[1] for line in lines if ".. program::" in line]
    assert {"toscore run", "toscore data check", "toscore data export"} <= set(commands)
    text = "\n".join(lines)
    for command in commands:
        words = command.split()[1:]
        shown = CliRunner().invoke(app, [*words, "--help"], env={"COLUMNS": "200"}).output
        options = set(re.findall(r"(?<![\w-])--[a-z]+", shown)) - {"--help"}
        part = text.split(f".. program:: {command}\n")[1].split(".. program::")[0]
        assert options == set(
            re.findall(r"(?<![\w-])--[a-z]+", "".join(re.findall(r":: -.*", part)))
        )
