"""Sphinx extension: what the reference page needs beside autodoc and napoleon.

The directive ``commands`` writes the reference of the command line from the program's own help, so
that it is never out of date.
"""

import dataclasses

from docutils.parsers.rst import Directive
from docutils.statemachine import StringList
from sphinx.util.nodes import nested_parse_with_titles

MADE_BY_HAND = "Barcode", "Settings", "Surface"


def without_constructor(app, what, name, obj, options, signature, returns):
    """Results are dataclasses that no reader makes: their fields are told as attributes."""
    if what == "class" and dataclasses.is_dataclass(obj) and obj.__name__ not in MADE_BY_HAND:
        return "", None
    return None


def command_lines(command, name: str):
    """reStructuredText lines of a command and of those below it."""
    import click

    context = click.Context(command, info_name=name)
    below = getattr(command, "commands", {})
    options = [p for p in command.params if "--help" not in p.opts]
    if not below:
        arguments = [p.name.upper() for p in options if p.param_type_name == "argument"]
        some = ["[OPTIONS]"] if len(options) > len(arguments) else []
        yield from [f".. program:: {name}", "", f"``{' '.join([name, *some, *arguments])}``"]
        yield from ["    " + line for line in (command.help or "").splitlines()]
        yield ""
        for p in options:
            default = p.get_default(context, call=False)
            given = p.param_type_name == "option" and default not in (None, False)
            notes = [p.help] if getattr(p, "help", None) else []
            notes += [f"default: {default}"] if given else []
            notes += [f"or ``${p.envvar}``"] if p.envvar else []
            names = "/".join([*p.opts, *p.secondary_opts])
            flag = p.param_type_name == "argument" or p.is_flag
            names = names.upper() if p.param_type_name == "argument" else names
            metavar = "" if flag else f" <{p.make_metavar(context).strip('<>').lower()}>"
            text = "; ".join(notes).replace("`toscore list`", "``toscore list``")
            yield from [f"    .. option:: {names}{metavar}", "", f"        {text}", ""]
    for key, inner in below.items():
        yield from command_lines(inner, f"{name} {key}")


class Commands(Directive):
    """The command ``toscore`` and its options."""

    def run(self):
        import typer.main

        from toscore.cli import app

        lines = StringList(list(command_lines(typer.main.get_command(app), "toscore")), "toscore")
        from docutils import nodes

        node = nodes.container()
        nested_parse_with_titles(self.state, lines, node)
        return node.children


def setup(app):
    app.add_directive("commands", Commands)
    app.connect("autodoc-process-signature", without_constructor)
    return {"version": "1", "parallel_read_safe": True, "parallel_write_safe": True}
