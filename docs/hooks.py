"""Pages that are made from the code when the site is built, so that they cannot go stale."""

import ast
import re
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path

import click
from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page

sys.path.insert(0, str(Path(__file__).parents[1]))

from lwd_core.cli.main import commands, load_command
from lwd_core.settings import Settings
from storage_schemas.markdown import page as tables_page

OUT_OF_THE_SITE = re.compile(r"\[([^\]]+)\]\(\.\./[^)]+\)")


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add the generated pages."""
    for name, text in {
        "tables.md": tables_page(),
        "cli.md": cli_page(),
        "settings.md": settings_page(),
        "rooms.md": rooms_page(),
    }.items():
        files.append(File.generated(config, name, content=text))
    return files


def on_page_markdown(markdown: str, page: Page, config: MkDocsConfig, files: Files) -> str:
    """A link to a file of the repository stays a name: the site holds pages only."""
    return OUT_OF_THE_SITE.sub(r"\1", markdown)


def cli_page() -> str:
    """Every command with its help, arguments, options."""
    parts = [
        "# Commands\n\nMade from `lwd` itself when this site is built. Exit codes: 0 done, 1 a check found "
        "something wrong, 2 wrong input (one line says what and the remedy), 130 interrupted (Ctrl-C), "
        "143 stopped by SIGTERM; training and fleets save their state before. "
        "`lwd --install-completion` teaches your shell the commands."
    ]
    for name in commands():
        parts.append(f"## lwd {name}")
        command = load_command(name)
        if isinstance(command, click.Group) and not command.invoke_without_command:
            parts.append(_help(command))
        for path, inner in _leaves(command, f"lwd {name}"):
            if path != f"lwd {name}":
                parts.append(f"### {path}")
            parts.append(_help(inner))
            parts.append(_parameters(inner))
    return "\n\n".join(part for part in parts if part) + "\n"


def settings_page() -> str:
    """Every setting with its variable."""
    lines = [
        "# Settings",
        "",
        "Made from `lwd_core/settings.py` when this site is built. A setting is an environment variable, or "
        "the field of that name in `lwd.toml` in the home (`LWD_CONFIG` names another file); the variable "
        "wins. Places are folders or `s3://bucket/prefix`; one that is not set lies below `LWD_HOME`.",
        "",
        "| variable | default | meaning |",
        "|---|---|---|",
    ]
    for name, field in Settings.model_fields.items():
        default = f"`{field.default}`" if field.default not in ("", None) else ""
        lines.append(f"| `LWD_{name.upper()}` | {default} | {field.description or ''} |")
    lines += [
        "",
        "Secrets come from the environment only: `LWD_SIGNING_KEY` (the private key, PEM text) and the keys "
        "of an object store as AWS tools read them (`AWS_ACCESS_KEY_ID`, `AWS_SECRET_ACCESS_KEY`).",
    ]
    return "\n".join(lines) + "\n"


def rooms_page() -> str:
    """The packages of lwd_core by layer, as the import contract has them, each by its docstring."""
    root = Path(__file__).parents[1]
    contracts = tomllib.loads((root / "pyproject.toml").read_text())["tool"]["importlinter"]["contracts"]
    layers = next(c["layers"] for c in contracts if c.get("containers") == ["lwd_core"])
    lines = [
        "# Rooms of the house",
        "",
        "`storage_schemas` describes every column and file once; `lwd_core` is the domain; `pipelines` is "
        "Dagster. Each imports only what is named before it. Inside `lwd_core` a room imports only from "
        "layers below its own, which `lint-imports` holds; rooms of one layer don't know each other. This "
        "page is made from that contract and the rooms' own words.",
        "",
        "| layer | room | what is in it |",
        "|---|---|---|",
    ]
    for number, layer in zip(range(len(layers), 0, -1), layers, strict=True):
        for name in (part.strip(" ()") for part in layer.split("|")):
            place = root / "lwd_core" / name
            inside = sorted(p.parent for p in place.rglob("__init__.py") if "proto" not in p.parts)
            for module in inside or [place.with_suffix(".py")]:
                file = module / "__init__.py" if module.is_dir() else module
                if file.exists():
                    room = ".".join(module.relative_to(root / "lwd_core").with_suffix("").parts)
                    said = (ast.get_docstring(ast.parse(file.read_text())) or "").partition("\n")[0]
                    lines.append(f"| {number} | `{room}` | {said} |")
    return "\n".join(lines) + "\n"


def _leaves(command: click.Command, path: str) -> Iterator[tuple[str, click.Command]]:
    if isinstance(command, click.Group):
        if command.invoke_without_command:
            yield path, command
        for name, inner in command.commands.items():
            yield from _leaves(inner, f"{path} {name}")
    else:
        yield path, command


def _help(command: click.Command) -> str:
    text = " ".join((command.help or "").split())
    about, _, example = text.partition("Example: ")
    return about.strip() + (f"\n\n    {example}" if example else "")


def _parameters(command: click.Command) -> str:
    rows = []
    for p in command.params:
        if p.name == "help":
            continue
        word = (
            ", ".join([*p.opts, *p.secondary_opts]) if isinstance(p, click.Option) else (p.name or "").upper()
        )
        kind = "" if getattr(p, "is_flag", False) else _choices(p)
        default = "" if p.default is None or callable(p.default) or p.default is False else str(p.default)
        rows.append(f"| `{word}` | {kind} | {default} | {getattr(p, 'help', '') or ''} |")
    return "\n".join(["| | kind | default | |", "|---|---|---|---|", *rows]) if rows else ""


def _choices(parameter: click.Parameter) -> str:
    kind = parameter.type
    return ", ".join(map(str, kind.choices)) if isinstance(kind, click.Choice) else kind.name
