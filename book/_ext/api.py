"""Sphinx extension: what the reference page needs beside autodoc and napoleon.

The directive ``commands`` writes the reference of the command line from the program's own help, so
that it is never out of date.
"""

import dataclasses
import inspect
import re

from docutils import nodes
from docutils.parsers.rst import Directive
from docutils.statemachine import StringList
from sphinx.util.nodes import nested_parse_with_titles

MADE_BY_HAND = "Barcode", "Settings", "Surface"


def without_constructor(app, what, name, obj, options, signature, returns):
    """Results are dataclasses that no reader makes: their fields are told as attributes."""
    if what == "class" and dataclasses.is_dataclass(obj) and obj.__name__ not in MADE_BY_HAND:
        return "", None
    return None


def with_return_type(app, what, name, obj, options, lines):
    """A section for an annotated result that has none, in its place, before napoleon reads it."""
    if what not in ("function", "method") or "Returns" in lines:
        return
    result = inspect.signature(obj).return_annotation
    if isinstance(result, str) and result != "None":
        later = [k for k, line in enumerate(lines) if line in ("Raises", "References", "Examples")]
        at = later[0] if later else len(lines)
        lines[at:at] = ["Returns", "-------", result, ""]


def verbatim(text: str) -> str:
    """Help as reStructuredText: what is to be typed stays as it is."""
    return re.sub(r"(--\w+|\$\w+|\w+://[\w:]+)|`([^`]+)`", r"``\1\2``", text)


def command_lines(command, name: str):
    """reStructuredText lines of a command and of those below it."""
    below = getattr(command, "commands", {})
    options = [p for p in command.params if "--help" not in p.opts]
    if not below:
        arguments = [p.name.upper() for p in options if p.param_type_name == "argument"]
        some = ["[OPTIONS]"] if len(options) > len(arguments) else []
        yield from [f".. program:: {name}", "", f"``{' '.join([name, *some, *arguments])}``"]
        yield from ["    " + line for line in verbatim(command.help or "").splitlines()]
        yield ""
        for p in options:
            is_argument = p.param_type_name == "argument"
            notes = [verbatim(p.help)] if getattr(p, "help", None) else []
            notes += [f"or ``${p.envvar}``"] if p.envvar else []
            notes += [f"default: {p.default}"] if p.default and not is_argument else []
            names = p.name.upper() if is_argument else ", ".join([*p.opts, *p.secondary_opts])
            value = "" if is_argument or p.is_flag else f" {p.name.upper()}"
            yield from [f"    .. option:: {names}{value}", "", f"        {'; '.join(notes)}", ""]
    for key, inner in below.items():
        yield from command_lines(inner, f"{name} {key}")


class Commands(Directive):
    """The command ``toscore`` and its options."""

    def run(self):
        from typer.main import get_command

        from toscore.cli import app

        lines = StringList(list(command_lines(get_command(app), "toscore")), "toscore")
        node = nodes.container()
        nested_parse_with_titles(self.state, lines, node)
        return node.children


def setup(app):
    app.add_directive("commands", Commands)
    app.connect("autodoc-process-signature", without_constructor)
    app.connect("autodoc-process-docstring", with_return_type, priority=400)
    return {"version": "1", "parallel_read_safe": True, "parallel_write_safe": True}
