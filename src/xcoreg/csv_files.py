"""Tables of text and of vectors: read with any separator, written so that spreadsheets run nothing."""

from __future__ import annotations

import re
import warnings
from io import StringIO
from pathlib import Path
from typing import Any

import pandas as pd

from xcoreg.errors import OptionError, require
from xcoreg.files import AnyPath, NoSuchFile


def read_csv(path: AnyPath, *, header: bool = True, spaces: bool = False) -> pd.DataFrame:
    """Read a table of text: every cell as a stripped string, "" where it is empty.

    Separators are commas, semicolons or tabs, whichever is most frequent in the first row; with `spaces` white space,
    too. Comments (#) go to `attrs["comments"]`. Without a header the columns are numbered from 0.
    """
    lines = _text_lines(path)
    rows = [line for line in lines if line.strip() and not line.startswith("#")]
    if not rows:
        raise OptionError(f"{path} holds no table: its first row should name the columns")
    separator = max(",;\t", key=rows[0].count)
    if spaces and separator not in rows[0]:
        rows, separator = [" ".join(row.split()) for row in rows], " "
    if not any('"' in row for row in rows) and min(row.count(separator) for row in rows) < rows[0].count(separator):
        raise OptionError(f"{path} has rows with fewer cells than its first row: complete them")
    how: dict[str, Any] = {"dtype": str, "keep_default_na": False, "header": 0 if header else None}
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", pd.errors.ParserWarning)  # of empty cells at the ends of rows
            table = pd.read_csv(StringIO("\n".join(rows)), sep=separator, index_col=False, **how)
    except (pd.errors.ParserError, ValueError) as error:
        raise OptionError(f"{path} cannot be read as a table: {error}") from error
    for name in table.columns:
        table[name] = table[name].str.strip()
    table.attrs["comments"] = [line for line in lines if line.startswith("#")]
    table = table.rename(columns=lambda name: name.strip() if isinstance(name, str) else name)
    if not table.columns.is_unique:
        raise OptionError(f"{path} names the column {table.columns[table.columns.duplicated()][0]!r} twice: rename one")
    return table


_FORMULA = re.compile(r"'*[=+\-@\t\r]")


def plain_cell(value: Any) -> Any:
    """Put an apostrophe before a text that a spreadsheet would run as a formula; anything else stays as it is."""
    if not (isinstance(value, str) and _FORMULA.match(value)):
        return value
    try:
        float(value)
    except ValueError:
        return f"'{value}"
    return value


def from_plain_cell(text: str) -> str:
    """Undo :func:`plain_cell`."""
    return text[1:] if text.startswith("'") and _FORMULA.match(text) else text


def read_vectors(path: AnyPath, what: str = "vectors") -> Any:
    """Read a vector file as a GeoDataFrame; what readers and drivers raise becomes an OptionError that says of what."""
    gpd, file = require("geopandas", extra="vector"), Path(path)
    if not file.exists():
        raise NoSuchFile(f"{path} does not exist")
    try:
        table = gpd.read_parquet(file) if file.suffix.lower() == ".parquet" else gpd.read_file(file)
    except Exception as error:  # every reader raises errors of its own
        raise OptionError(f"{path} cannot be read as {what}: {error}") from error
    if not isinstance(table, gpd.GeoDataFrame):
        raise OptionError(f"{path} cannot be read as {what}: it has no geometries")
    return table


def read_vector_points(path: AnyPath) -> Any:
    """Read a vector file of points; lines, polygons and missing geometries are refused."""
    table = read_vectors(path, "points")
    if not (table.geom_type == "Point").all():
        raise OptionError(f"{path} holds geometries that are no points: give points, polygons by their centroids")
    return table


def _text_lines(path: AnyPath) -> list[str]:
    try:
        return Path(path).read_text(encoding="utf-8-sig").splitlines()
    except FileNotFoundError as error:
        raise NoSuchFile(f"{path} does not exist") from error
    except UnicodeDecodeError as error:
        raise OptionError(f"{path} is not a text file: give a table as CSV") from error
    except OSError as error:
        raise OptionError(f"cannot read {path}: {error.strerror}") from error
