"""What became of a batch: a table for programs, and a page for people."""

from __future__ import annotations

import csv
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from xcoreg.errors import require
from xcoreg.files import new_file
from xcoreg.jobs.scene import DONE, FAILED, REFUSED
from xcoreg.jobs.work import SCENES
from xcoreg.report.html import escape, page, paragraphs, section, table

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["Batch", "write_manifest", "write_page"]

_WORDS = {DONE: "corrected", REFUSED: "refused", FAILED: "failed"}
_TOP = ("name", "status", "reason", "target", "reference", "output", "model", "dx", "dy", "unit", "dcol", "drow")
_SIGMA = ("sigma_x", "sigma_y", "sigma_col", "sigma_row", "length", "angle")
_QUALITY = (
    "reliability",
    "score",
    "ssim_before",
    "ssim_after",
    "n_windows",
    "n_ok",
    "n_check",
    "rmse_before",
    "rmse_after",
    "ce90_before",
    "ce90_after",
)
_STEPS = ("match", "write", "report", "total")


@dataclass(frozen=True, eq=False)
class Batch:
    """What became of many scenes; true when every one was corrected.

    Parameters
    ----------
    folder : Path
        Of the outputs.
    records : tuple of dict
        One per scene, in the order they were given: what its JSON file holds.
    n_new : int
        Scenes worked on in this run; the others had been done before.

    Examples
    --------
    >>> batch = Batch(Path("out"), ({"name": "a", "status": "done"}, {"name": "b", "status": "refused"}), 2)
    >>> batch, bool(batch)
    (Batch(1 corrected, 1 refused; out), False)
    """

    folder: Path
    records: tuple[dict[str, Any], ...]
    n_new: int = 0

    def counts(self) -> dict[str, int]:
        """How many scenes ended in which way: done, refused (no trustworthy match), failed."""
        found = Counter(record["status"] for record in self.records)
        return {status: found[status] for status in _WORDS if found[status]}

    @property
    def ok(self) -> bool:
        """True when every scene was corrected."""
        return all(record["status"] == DONE for record in self.records)

    def __bool__(self) -> bool:
        return self.ok

    def __repr__(self) -> str:
        return f"Batch({tell_counts(self.counts())}; {self.folder})"

    def rows(self) -> list[dict[str, Any]]:
        """Give one dictionary per scene, the same keys in all, None where nothing is known."""
        return [_row(record) for record in self.records]

    def to_dataframe(self) -> pd.DataFrame:
        """Give the same as a table of pandas; needs the extra `vector`.

        Raises
        ------
        MissingDependency
            Without pandas.
        """
        frame: pd.DataFrame = require("pandas", extra="vector").DataFrame(self.rows(), columns=_columns())
        return frame


def tell_counts(counts: dict[str, int]) -> str:
    """Put counts into words.

    Examples
    --------
    >>> tell_counts({"done": 3, "failed": 1})
    '3 corrected, 1 failed'
    """
    return ", ".join(f"{n} {_WORDS[status]}" for status, n in counts.items()) or "nothing"


def write_manifest(batch: Batch, path: Path) -> None:
    """Write the table of a batch, whole or not at all.

    Parameters
    ----------
    batch : Batch
    path : Path
        `.csv`, or `.parquet`, which needs the extra `vector`.
    """
    with new_file(path) as place:
        if path.suffix.lower() == ".parquet":
            frame = batch.to_dataframe()
            texts = ("name", "status", "reason", "target", "reference", "output", "model", "unit")
            kinds = {name: "string" if name in texts else "float64" for name in frame.columns}
            frame.astype(kinds).to_parquet(place, index=False)
            return
        with place.open("w", newline="", encoding="utf-8") as file:
            writer = csv.DictWriter(file, _columns())
            writer.writeheader()
            writer.writerows(batch.rows())


def write_page(batch: Batch, path: Path) -> None:
    """Write an index of all scenes that needs nothing but itself, with links to their files.

    Parameters
    ----------
    batch : Batch
    path : Path
        `.html`, in the folder of the batch.
    """
    title = f"{len(batch.records)} scenes: {tell_counts(batch.counts())}"
    kind = "" if batch.ok else ' class="bad"'
    sign = (
        "A correction is what is added to the coordinates of the target to lie on the reference: x_ref = x_tgt + dx; "
        "dcol runs to the right, drow down, in pixels of the target. RMSE: what was between the images, and is left "
        "at withheld points, px."
    )
    head = f"<header{kind}><h1>{escape(title)}</h1>{paragraphs([sign], 'faint')}</header>"
    bad = [record for record in batch.records if record["status"] != DONE]
    good = [record for record in batch.records if record["status"] == DONE]
    names = ["scene", "dcol", "drow", "RMSE before", "after", "SSIM before", "after", "windows", "s", "model"]
    body = head
    if bad:
        lines = [[_link(batch, one), escape(_WORDS[one["status"]]), escape(one["reason"])] for one in bad]
        body += section("Not corrected", table(["scene", "", "reason"], lines))
    if good:
        lines = [_cells(batch, one) for one in good]
        body += section("Corrected", table(names, lines, numbers=len(names) - 2))
    with new_file(path) as place:
        place.write_text(page(title, body), encoding="utf-8")


def _columns() -> list[str]:
    return [*_TOP, *_SIGMA, *_QUALITY, *(f"seconds_{step}" for step in _STEPS)]


def _row(record: dict[str, Any]) -> dict[str, Any]:
    quality, seconds = record.get("quality") or {}, record.get("seconds") or {}
    row = {name: record.get(name) for name in (*_TOP, *_SIGMA)}
    row |= {name: quality.get(name) for name in _QUALITY}
    return row | {f"seconds_{step}": seconds.get(step) for step in _STEPS}


def _cells(batch: Batch, record: dict[str, Any]) -> list[str]:
    row = _row(record)
    cells = [_link(batch, record), *(_number(row[name], "+.3f") for name in ("dcol", "drow"))]
    cells += [_number(row[name], ".3f") for name in ("rmse_before", "rmse_after", "ssim_before", "ssim_after")]
    cells += [f"{row['n_ok']} / {row['n_windows']}", _number(row["seconds_total"], ".1f")]
    return [*cells, escape(record.get("model") or "")]


def _number(value: Any, form: str) -> str:
    return format(value, form) if isinstance(value, int | float) else ""


def _link(batch: Batch, record: dict[str, Any]) -> str:
    name = record["name"]
    told = f"{SCENES}/{name}.json"
    if record["status"] != DONE:
        return _anchor(told, name)
    shown = batch.folder / SCENES / f"{name}.html"
    goal = f"{SCENES}/{name}.html" if shown.exists() else record["output"]
    return f"{_anchor(goal, name)} {_anchor(told, 'record')}"


def _anchor(goal: str, text: str) -> str:
    return f'<a href="{quote(goal)}">{escape(text)}</a>'
