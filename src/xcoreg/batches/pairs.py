"""The pairs of images of a batch: from a table, a pattern, a list or a DataFrame."""

from __future__ import annotations

import glob
import os
import re
import unicodedata
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from rasterio.drivers import raster_driver_extensions

from xcoreg.batches.stac import is_stac, read_items
from xcoreg.csv_files import read_csv
from xcoreg.errors import OptionError
from xcoreg.files import NoSuchFile, local_path

# Suffixes that GDAL reads but that are more often something else beside an image.
_NO_RASTERS = {".xml", ".txt", ".json", ".csv", ".png", ".jpg", ".jpeg", ".gif", ".webp", ".pdf", ".db", ".sqlite"}
_NO_RASTERS |= {".gpkg", ".rpb", ".ovr", ".msk", ".hdr", ".aux", ".dat"}
# Names that leave the folder, are hidden, or are none on some system: separators, devices of Windows, lone surrogates.
_NO_NAME = re.compile(r"""^\.|[. ]$|[/\\:*?"<>|\x00-\x1f\x7f\ud800-\udfff]|(?i:^(con|prn|aux|nul|com\d|lpt\d)(\.|$))""")
_LONGEST = 200  # bytes, so that suffixes have a place
_COLUMNS = "target, reference (needed unless ref= is given) and name (optional)"


@dataclass(frozen=True)
class Pair:
    """One scene of a batch: absolute paths, URLs or GDAL names of its images, and the name of its outputs."""

    target: str
    reference: str
    name: str = ""


def read_pairs(
    pairs: Any, ref: Any = None, *, asset: str | None = None, out: str | os.PathLike[str] | None = None
) -> list[Pair]:
    """Make a list of pairs of a table, pattern, folder, STAC items, DataFrame or sequence.

    ref : Reference of targets that have none of their own. asset : Of STAC items. out : Folder that is no input.
    """
    if is_stac(ref):
        references = read_items(ref, asset)
        if len(references) != 1:
            raise OptionError(f"ref is a collection of {len(references)} STAC items: give one item")
        ref = references[0]["target"]
    rows = _rows(pairs, out)
    expanded = [one for row in rows for one in (read_items(row, asset) if is_stac(row) else [row])]
    found = [_pair(row, ref, number) for number, row in enumerate(expanded, 1)]
    if not found:
        raise OptionError(f"there is nothing to do: {pairs!r:.80} names no image, give targets")
    for path in dict.fromkeys(path for pair in found for path in (pair.target, pair.reference)):
        local = local_path(path)
        if local is not None and not local.exists():
            raise NoSuchFile(f"{path} does not exist")
    return _named(found)


def _rows(pairs: Any, out: str | os.PathLike[str] | None) -> Iterable[Any]:
    if is_stac(pairs):
        return [pairs]
    if isinstance(pairs, str | os.PathLike):
        text = os.fspath(pairs)
        if text.lower().endswith(".csv"):
            return _table(Path(text))
        if re.search(r"[*?\[]", text) and not re.match(r"https?://", text, re.IGNORECASE):  # ? begins a query
            return sorted(glob.glob(text, recursive=True))  # noqa: PTH207 - Path.glob takes no absolute pattern
        return rasters_of(Path(text), out) if _is_folder(Path(text)) else [text]
    if hasattr(pairs, "to_dict") and hasattr(pairs, "columns"):
        return list(pairs.to_dict("records"))
    if isinstance(pairs, Iterable) and not isinstance(pairs, Mapping):
        paths = (str, os.PathLike)
        one_by_one = [[row] if not isinstance(row, paths) or is_stac(row) else _rows(row, out) for row in pairs]
        return [row for rows in one_by_one for row in rows]
    cure = "give a list of (target, reference), a CSV table or a pattern"
    raise OptionError(f"pairs is a {type(pairs).__name__}: {cure}")


def _is_folder(path: Path) -> bool:
    """Whether a path is a folder of rasters, and no raster that is a folder (Zarr, SAFE)."""
    marks = ("zarr.json", ".zgroup", ".zmetadata", "manifest.safe")
    return path.is_dir() and not any((path / mark).exists() for mark in marks)


def rasters_of(folder: Path, out: str | os.PathLike[str] | None = None) -> list[str]:
    """List the rasters in a folder and in those below it, sorted; not what an earlier run has written."""
    written = None if out is None else Path(out).absolute()
    suffixes = {f".{one}" for one in raster_driver_extensions()} - _NO_RASTERS
    found = [
        str(path)
        for path in sorted(folder.rglob("*"))
        if path.suffix.lower() in suffixes | {".zarr"}
        and not (written is not None and written in path.absolute().parents)
        and not any(
            parent.suffix == ".zarr" or parent.name.startswith(".") for parent in path.relative_to(folder).parents
        )
    ]
    if not found:
        raise OptionError(f"there is nothing to do: the folder {folder} holds no raster")
    return found


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
        if _NO_NAME.search(pair.name) or len(os.fsencode(pair.name)) > _LONGEST:
            raise OptionError(f"{pair.name[:99]!r} cannot be the name of a file: give this scene another name")
    # The fit of scene a is a.fit.json, which would be the record of a scene a.fit.
    plain = (unicodedata.normalize("NFC", pair.name).casefold() for pair in named)
    files = (name for one in plain for name in (one, f"{one}.fit"))
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
