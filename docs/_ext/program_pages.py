"""Directives for what the program says: `command-help` and `settings-table`."""

from __future__ import annotations

import contextlib
import io
import os
from importlib import import_module
from typing import TYPE_CHECKING, Any, Literal, get_args, get_origin

from docutils import nodes
from sphinx.util.docutils import SphinxDirective

if TYPE_CHECKING:
    from sphinx.application import Sphinx


def help_of(*words: str) -> str:
    """Return what a command prints with --help, in lines of 88 characters."""
    from napari_unet.cli.main import main

    before = os.environ.get("COLUMNS")
    os.environ["COLUMNS"] = "88"
    printed = io.StringIO()
    try:
        with contextlib.redirect_stdout(printed), contextlib.suppress(SystemExit):
            main([*words, "--help"])
    finally:
        os.environ.pop("COLUMNS")
        if before is not None:
            os.environ["COLUMNS"] = before
    return printed.getvalue()


class CommandHelp(SphinxDirective):
    """A section for each command, or for those that are named."""

    optional_arguments = 100

    def run(self) -> list[nodes.Node]:
        """Return sections with the commands' names, to be linked to."""
        from napari_unet.cli.main import COMMANDS

        found: list[nodes.Node] = []
        for name in self.arguments or list(COMMANDS):
            section = nodes.section(ids=[f"napari-unet-{name}"], names=[name])
            section += nodes.title(text=name)
            section += nodes.literal_block(text=help_of(name), language="text")
            found.append(section)
        return found


class SettingsTable(SphinxDirective):
    """A section with the fields of a settings class: default, bounds, meaning."""

    required_arguments = 1

    def run(self) -> list[nodes.Node]:
        """Return the section."""
        module, _, name = self.arguments[0].rpartition(".")
        kind = getattr(import_module(module), name)
        section = nodes.section(ids=[f"settings-{name.lower()}"], names=[name])
        section += nodes.title(text=name)
        section += nodes.paragraph(text=kind.__doc__.splitlines()[0])
        table = nodes.table()
        group = nodes.tgroup(cols=4)
        table += group
        for width in (18, 14, 18, 50):
            group += nodes.colspec(colwidth=width)
        head, body = nodes.thead(), nodes.tbody()
        head += _row("name", "default", "allowed", "meaning")
        for field, info in kind.model_fields.items():
            if not info.description:
                continue  # settings of their own, which have a table
            bounds = _bounds(info)
            body += _row(field, str(info.default), bounds, info.description)
        group += [head, body]
        section += table
        return [section]


def _bounds(info: Any) -> str:
    """Say which values a field may have."""
    choices = get_args(info.annotation)
    if get_origin(info.annotation) is Literal:
        return ", ".join(map(str, choices))
    signs = {"ge": "≥", "gt": ">", "le": "≤", "lt": "<"}
    return ", ".join(
        f"{sign} {getattr(rule, name):g}"
        for rule in info.metadata
        for name, sign in signs.items()
        if getattr(rule, name, None) is not None
    )


def _row(*cells: str) -> nodes.row:
    row = nodes.row()
    for cell in cells:
        row += nodes.entry("", nodes.paragraph(text=cell))
    return row


def setup(app: Sphinx) -> dict[str, Any]:
    """Register the directive."""
    app.add_directive("command-help", CommandHelp)
    app.add_directive("settings-table", SettingsTable)
    return {"parallel_read_safe": True}
