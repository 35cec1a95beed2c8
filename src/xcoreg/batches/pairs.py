"""The pairs of images of a batch: from a table, a pattern, a list or a DataFrame."""

from __future__ import annotations

import glob
import os
import re
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from xcoreg.errors import OptionError
from xcoreg.files import NoSuchFile, local_path, read_csv

_COLUMNS = "target, reference (needed unless ref= is given) and name (optional)"


@dataclass(frozen=True)
class Pair:
    """One scene of a batch: absolute paths, URLs or GDAL names of its images, and the name of its outputs."""

    target: str
    reference: str
    name: str = ""


def read_pairs(pairs: Any, ref: str | os.PathLike[str] | None = None) -> list[Pair]:
    """Make a list of pairs of a table, a pattern, a DataFrame or a sequence; `ref` serves targets without reference."""
    found = [_pair(row, ref, number) for number, row in enumerate(_rows(pairs), 1)]
    if not found:
        raise OptionError(f"there is nothing to do: {pairs!r:.80} names no image, give targets")
    for path in dict.fromkeys(path for pair in found for path in (pair.target, pair.reference)):
        local = local_path(path)
        if local is not None and not local.exists():
            raise NoSuchFile(f"{path} does not exist")
    return _named(found)


def _rows(pairs: Any) -> Iterable[Any]:
    if isinstance(pairs, str | os.PathLike):
        text = os.fspath(pairs)
        if text.lower().endswith(".csv"):
            return _table(Path(text))
        if re.search(r"[*?\[]", text) and not re.match(r"https?://", text, re.IGNORECASE):  # ? begins a query
            return sorted(glob.glob(text, recursive=True))  # noqa: PTH207 - Path.glob takes no absolute pattern
        return [text]
    if hasattr(pairs, "to_dict") and hasattr(pairs, "columns"):
        return list(pairs.to_dict("records"))
    if isinstance(pairs, Iterable) and not isinstance(pairs, Mapping):
        return pairs
    cure = "give a list of (target, reference), a CSV table or a pattern"
    raise OptionError(f"pairs is a {type(pairs).__name__}: {cure}")


def _table(path: Path) -> list[dict[str, str]]:
    """Read a CSV table; its relative paths are relative to its own folder."""
    table = read_csv(path)
    if "target" not in table:
        raise OptionError(f"{path} has no column 'target', but {', '.join(table)}: its columns are {_COLUMNS}")
    for name in table.columns.intersection(["target", "reference"]):
        table[name] = [str(path.parent / cell) if cell and local_path(cell) else cell for cell in table[name]]
    rows: list[dict[str, str]] = table.to_dict("records")
    return rows


def _pair(row: Any, ref: Any, number: int) -> Pair:
    if isinstance(row, str | os.PathLike):
        row = {"target": row}
    elif isinstance(row, Mapping):
        row = {key: row[key] for key in ("target", "reference", "name") if isinstance(row.get(key), str | os.PathLike)}
    elif isinstance(row, tuple | list) and len(row) == 2:
        row = dict(zip(("target", "reference"), row, strict=True))
    else:
        raise OptionError(f"pair {number} is {row!r:.80}: give (target, reference), or a target alone with ref=")
    target, reference = row.get("target"), row.get("reference") or ref
    for side, path in (("target", target), ("reference", reference)):
        if not isinstance(path, str | os.PathLike) or not os.fspath(path):
            cure = "give its path" if side == "target" else "give it in every pair, or one for all with ref="
            raise OptionError(f"pair {number} has no {side}: {cure} (images in memory: write them with write_raster)")
    return Pair(_absolute(target), _absolute(reference), str(row.get("name") or ""))


def _absolute(path: Any) -> str:
    local = local_path(path)
    return os.fspath(path) if local is None else str(local.absolute())


def _named(pairs: list[Pair]) -> list[Pair]:
    """Name pairs by file, and by as many folders as make names unique; refuse names that no file may have."""
    paths = {pair: _path_parts(pair.target) for pair in pairs if not pair.name}
    depth = 1
    while depth < max(map(len, paths.values()), default=0):
        if len({parts[-depth:] for parts in paths.values()}) == len(set(paths.values())):
            break
        depth += 1
    named = [pair if pair.name else replace(pair, name="_".join(paths[pair][-depth:])) for pair in pairs]
    for pair in named:
        if pair.name in (".", "..") or re.search(r'[/\\:*?"<>|\x00-\x1f]', pair.name) or pair.name.startswith("."):
            raise OptionError(f"{pair.name!r} cannot be the name of a file: give this scene another name")
    # The fit of scene a is a.fit.json, which would be the record of a scene a.fit.
    files = (name for pair in named for name in (pair.name.lower(), f"{pair.name}.fit".lower()))
    twice = [name for name, n in Counter(files).items() if n > 1]
    if twice:
        some = f"{len(twice)} name(s) belong to several scenes, such as {twice[0]!r}"
        raise OptionError(f"{some}: name them (column name)")
    return named


def _path_parts(target: str) -> tuple[str, ...]:
    """Folders and name of a target, without suffix, in characters that a file name may have."""
    parts = [part for part in re.split(r"[/\\]+", target.split("?", maxsplit=1)[0]) if part]
    clean = [re.sub(r"[^\w.+-]+", "-", part).strip("-.") for part in (*parts[:-1], Path(parts[-1]).stem)]
    return tuple(part for part in clean if part)
