"""Defaults of options, from a file of the project (TOML) and from presets; what is typed always wins."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import click
from click.core import ParameterSource

from xcoreg import presets
from xcoreg.errors import OptionError, unknown_option

_FILES = ("xcoreg.toml", "pyproject.toml")  # of the current folder
_CONFIG, _PRESET = "xcoreg.config", "xcoreg.preset"  # keys of ctx.meta
_VERBS = {"warp": "match_local", "points": "match_local", "dem": "dem"}
_NOT_DEFAULTS = {"config", "help", "ref", "tgt", "out", "image", "fit", "jobs"}  # what a file may not set for all


def _read(path: Path) -> dict[str, Any]:
    """Read the defaults in a TOML file: its table [tool.xcoreg], or all of a file that is xcoreg's own."""
    try:
        with path.open("rb") as file:
            content = tomllib.load(file)
    except OSError as error:
        raise OptionError(f"--config {path} cannot be read: {error.strerror}") from error
    except tomllib.TOMLDecodeError as error:
        raise OptionError(f"--config {path} is not TOML: {error}") from error
    own: dict[str, Any] = content.get("tool", {}).get("xcoreg", {})
    return own if "tool" in content or path.name == "pyproject.toml" else content


def _for_command(ctx: click.Context, content: Mapping[str, Any], path: Path) -> dict[str, Any]:
    """Choose the defaults of one command: those of all commands that it knows, and its own table."""
    tables = {name: value for name, value in content.items() if isinstance(value, dict)}
    common = {name: value for name, value in content.items() if name not in tables}
    group = ctx.find_root().command
    names = group.list_commands(ctx) if isinstance(group, click.Group) else [ctx.command.name or ""]
    for name in tables:
        if name not in names:
            raise OptionError(f"{path}: {unknown_option(name, names)}")
    params = {one.name or "": one for one in ctx.command.params}
    every = sorted({*params, *_options_of(group, ctx)} - _NOT_DEFAULTS)
    defaults = {}
    for table, known in ((common, every), (tables.get(ctx.command.name or "", {}), [*params])):
        for key, value in table.items():
            name = key.replace("-", "_")
            if name not in known:
                raise OptionError(f"{path}: {unknown_option(name, known)}")
            if name in params:
                defaults[name] = _as_typed(params[name], value)
    return defaults


def _options_of(group: click.Command, ctx: click.Context) -> set[str]:
    """Names of the options of every command."""
    commands = (group.get_command(ctx, name) for name in group.list_commands(ctx)) if isinstance(group, click.Group) \
        else ()  # fmt: skip
    return {param.name or "" for command in commands if command is not None for param in command.params}


def _as_typed(param: click.Parameter, value: Any) -> Any:
    """Turn a value of TOML into what the shell would give: tables and lists into KEY=VALUE and words."""
    if isinstance(value, dict):
        value = [f"{key}={one}" for key, one in value.items()]
    if isinstance(value, list) and not getattr(param, "multiple", False) and param.nargs == 1:
        return ",".join(map(str, value))
    return value


def _use(ctx: click.Context) -> None:
    """Take the defaults of the file before those of the preset."""
    ctx.default_map = {**ctx.meta.get(_PRESET, {}), **ctx.meta.get(_CONFIG, {})}


def use_config(ctx: click.Context, _: click.Parameter, value: str | None) -> str | None:
    """Take defaults from the file that --config names, or from one in the current folder."""
    content: dict[str, Any] = {}
    given = None if value is None else Path(value)
    for path in [given] if given is not None else [one for one in map(Path, _FILES) if one.is_file()]:
        content = _read(path)
        if content or given is not None:
            ctx.meta[_CONFIG] = _for_command(ctx, content, path)
            value = str(path)
            break
    chosen = ctx.meta.get(_CONFIG, {}).get("preset")
    if chosen is not None and ctx.get_parameter_source("preset") is ParameterSource.DEFAULT:
        # The option --preset, which stands before --config, has been read and was not given.
        ctx.params["preset"] = use_preset(ctx, _, chosen)
        ctx.set_parameter_source("preset", ParameterSource.DEFAULT_MAP)
    _use(ctx)
    return value


def use_preset(ctx: click.Context, _: click.Parameter, value: str | None) -> str | None:
    """Take defaults from a preset."""
    if value is not None:
        verb = _VERBS.get(ctx.command.name or "", "match")
        known = {one.name for one in ctx.command.params}
        found = presets.options(value, verb)
        ctx.meta[_PRESET] = {name: one for name, one in found.items() if name in known}
        _use(ctx)
    return value


def describe_defaults(ctx: click.Context, config: str | None) -> str:
    """Say which options were not typed but come from a preset or a file; empty where none does."""
    found: dict[str, list[str]] = {}
    for param in ctx.command.params:
        name = param.name or ""
        if ctx.get_parameter_source(name) is ParameterSource.DEFAULT_MAP:
            key = config if name in ctx.meta.get(_CONFIG, {}) else f"the preset {ctx.params.get('preset')}"
            value = ctx.params.get(name)
            text = f"{value:g}" if isinstance(value, float) else str(value)
            found.setdefault(str(key), []).append(f"--{name.replace('_', '-')} {text}")
    return "; ".join(f"{', '.join(values)} from {key}" for key, values in found.items())


config_option = click.option(
    "--config", type=click.Path(dir_okay=False), metavar="TOML", is_eager=True, callback=use_config,
    help="Take defaults of options from this file.  [default: xcoreg.toml or pyproject.toml in the current folder]",
)  # fmt: skip
preset_option = click.option(
    "--preset", type=click.Choice(list(presets.PRESETS)), metavar="NAME", is_eager=True, callback=use_preset,
    help=f"Window, spacing and band that suit a product, where they are not given: {', '.join(presets.PRESETS)}.",
)  # fmt: skip
