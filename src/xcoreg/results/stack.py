"""What was found for a stack of dates: every pair matched, every date's correction, and how well they close."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from affine import Affine
from odc.geo.geobox import GeoBox

from xcoreg import georef
from xcoreg.core import Floats
from xcoreg.core.matches import Status
from xcoreg.core.models import Translation
from xcoreg.errors import MatchError, OptionError, is_integer, is_name
from xcoreg.files import replacing
from xcoreg.georef.crs import unit_of
from xcoreg.results.coregistration import Coregistration, Quality
from xcoreg.results.details import Details, Origin, check_grids
from xcoreg.results.reading import read_result
from xcoreg.results.shift import Shift
from xcoreg.results.stack_adjust import adjust_stack, times_of
from xcoreg.results.stack_parts import StackDate, StackPairs, StackQuality, from_plain, to_plain
from xcoreg.results.stack_text import describe_stack, stack_html, summarise_stack
from xcoreg.results.tiepoints import TiePoints

SCHEMA = 1
FORMAT = "xcoreg stack"


@dataclass(frozen=True, eq=False, repr=False)
class StackFit:
    """Corrections of all dates of a stack, adjusted together; true when every date is placed.

    Parameters
    ----------
    dates : tuple of StackDate
        In the order they were given; a reference image comes last.
    pairs : StackPairs
        Every pair that was matched, whatever became of it.
    quality : StackQuality
        Chi-squared, closure of triangles, variance components.
    datum : str
        "mean", or the name of the date or image that stays in place.
    datum_dates : tuple of str
        The dates whose corrections have the mean zero, or the one that stays.
    crs_wkt, transform, shape
        The matching grid: corrections are in units of its CRS, pairs in its pixels.
    kinds : tuple of str
        Kinds of pairs, which have variance components of their own.
    reference_sigma : float
        Standard deviation of the place of a reference image, px of the matching grid.
    fields : tuple of Coregistration or None
        Of `match_stack_local`: the field of every date, None where it is refused; else empty.
    options, versions : dict
        Options that were given, and the programs that made it.
    date : str
        When it was made, UTC.

    Examples
    --------
    >>> from xcoreg import simulate, match_stack
    >>> made = simulate.cube(5, (200, 200), clouds=0.1, seed=2)
    >>> stack = match_stack(made.cube)
    >>> stack.ok, stack.shifts.shape, stack.names[1]
    (True, (5, 2), '2020-01-21')
    """

    dates: tuple[StackDate, ...]
    pairs: StackPairs
    quality: StackQuality
    datum: str
    datum_dates: tuple[str, ...]
    crs_wkt: str | None
    transform: tuple[float, ...]
    shape: tuple[int, int]
    kinds: tuple[str, ...] = ("any",)
    reference_sigma: float = 0.0
    fields: tuple[Coregistration | None, ...] = ()
    options: dict[str, Any] = field(default_factory=dict)
    versions: dict[str, str] = field(default_factory=dict)
    date: str = ""

    @property
    def placed(self) -> tuple[StackDate, ...]:
        """Dates that have a trusted correction."""
        return tuple(one for one in self.dates if one.role == "date" and one.status is Status.OK)

    @property
    def refused(self) -> tuple[StackDate, ...]:
        """Dates that have none."""
        return tuple(one for one in self.dates if one.role == "date" and one.status is not Status.OK)

    @property
    def ok(self) -> bool:
        """True when every date is placed."""
        return bool(self.placed) and not self.refused

    def __bool__(self) -> bool:
        return self.ok

    @property
    def names(self) -> tuple[str, ...]:
        """Names of the dates, without a reference image."""
        return tuple(one.name for one in self.dates if one.role == "date")

    @property
    def shifts(self) -> Floats:
        """(n, 2) float64: corrections (dx, dy) of the dates, units of the CRS; NaN where refused."""
        return np.array([(one.dx, one.dy) for one in self.dates if one.role == "date"], np.float64).reshape(-1, 2)

    @property
    def shifts_px(self) -> Floats:
        """(n, 2) float64: the same in px of the matching grid, (dcol, drow)."""
        return np.stack(georef.vector_to_pixel(georef.linear_of(self.transform), *self.shifts.T), -1)

    @property
    def covs(self) -> Floats:
        """(n, 2, 2) float64: covariances of :attr:`shifts`."""
        return np.array([one.cov for one in self.dates if one.role == "date"], np.float64).reshape(-1, 2, 2)

    @property
    def covs_px(self) -> Floats:
        """(n, 2, 2) float64: covariances of :attr:`shifts_px`."""
        return np.asarray(georef.cov_to_pixel(georef.linear_of(self.transform), self.covs))

    @property
    def grid(self) -> GeoBox:
        """The matching grid."""
        return GeoBox(self.shape, Affine(*self.transform), self.crs_wkt)

    @property
    def is_field(self) -> bool:
        """True when corrections vary from place to place."""
        return bool(self.fields)

    def position(self, name: Any) -> int:
        """Position of a date by its name, its time, or its number.

        Parameters
        ----------
        name : str, datetime64, datetime or int

        Returns
        -------
        int

        Raises
        ------
        OptionError
            When the stack has no such date.
        """
        if is_integer(name) and -len(self.names) <= name < len(self.names):
            return int(name) % len(self.names)
        wanted = str(name)
        if wanted in self.names:
            return self.names.index(wanted)
        try:
            time = np.datetime64(name, "ns")
        except (TypeError, ValueError):
            time = np.datetime64("NaT", "ns")
        at = np.flatnonzero(times_of(tuple(one for one in self.dates if one.role == "date")) == time)
        if len(at) != 1:
            some = ", ".join(self.names[:3]) + ", ..." * (len(self.names) > 3)
            raise OptionError(f"the stack has no date {wanted!r}; its {len(self.names)} dates are {some}")
        return int(at[0])

    def fit(self, name: Any) -> Coregistration:
        """Correction of one date, as `apply` takes it.

        Parameters
        ----------
        name : str, datetime64, datetime or int
            See :meth:`position`.

        Returns
        -------
        Coregistration
            In the CRS of the date's own image.

        Raises
        ------
        MatchError
            When the date is refused, with the reason.
        """
        at = self.position(name)
        one = self.dates[at]
        if one.status is not Status.OK:
            raise MatchError(f"{one.name} has no trusted correction: {one.reason or one.status.reason}")
        made = self.fields[at] if self.fields else self._translation(one)
        if made is None:
            raise MatchError(f"{one.name} has no trusted field: {one.reason or one.status.reason}")
        return made

    def _translation(self, one: StackDate) -> Coregistration:
        """Make a fit of one shift; of an image in another CRS the shift at its centre."""
        rows, cols = one.shape
        x, y = (float(part) for part in georef.pixel_to_map(one.transform, (cols - 1) / 2, (rows - 1) / 2))
        basis = np.array([(one.dx, one.dy), (1.0, 0.0), (0.0, 1.0)])
        if one.crs_wkt and self.crs_wkt and one.crs_wkt != self.crs_wkt:
            place = np.full(3, x), np.full(3, y)
            moved = georef.local_displacement(*place, basis[:, 0], basis[:, 1], self.crs_wkt, one.crs_wkt)
            basis = np.stack(moved, -1)
        (dx, dy), turn = basis[0].tolist(), basis[1:].T
        (xx, xy), (yx, yy) = (turn @ np.array(one.cov) @ turn.T).tolist()
        cov, linear = ((xx, xy), (yx, yy)), georef.linear_of(one.transform)
        dcol, drow = georef.vector_to_pixel(linear, dx, dy)
        values = (0, (rows - 1) / 2, (cols - 1) / 2, x, y, dx, dy, dcol, drow)
        columns: Any = [np.array([value]) for value in values]
        more: dict[str, Any] = {"cov": np.array([cov]), "crs_wkt": one.crs_wkt}
        points = TiePoints(*columns, **more)
        unit = unit_of(one.crs_wkt) if one.crs_wkt else "metre"
        origin = Origin(one.name, f"stack of {len(self.names)} dates", self.date, one.corrections)
        details = Details(options=self.options, ref_grid=self.grid, origin=origin)
        return Coregistration(
            Translation(dx, dy, cov=cov),
            points,
            Quality(n_windows=one.n_pairs, n_ok=one.n_accepted),
            Status.OK,
            Shift(dx, dy, cov, linear, unit=unit),
            one.crs_wkt,
            one.transform,  # type: ignore[arg-type]
            one.shape,
            details,
            self.versions,
        )

    @cached_property
    def id(self) -> str:
        """Identifier of the corrections: it stands in the history of cubes that are corrected."""
        numbers = json.dumps([self.names, self.crs_wkt, list(self.transform)]).encode() + self.shifts.tobytes()
        return hashlib.sha1(numbers, usedforsecurity=False).hexdigest()[:12]

    def to_dataframe(self) -> pd.DataFrame:
        """One row per date: name, time, status, reason, dx, dy and their sigma, dcol, drow, pairs, ratio.

        Returns
        -------
        pandas.DataFrame
        """
        px = self.shifts_px
        return pd.DataFrame([
            {
                "name": one.name, "time": one.time, "status": one.status.name, "reason": one.reason,
                "dx": one.dx, "dy": one.dy, "sigma_x": one.sigma[0], "sigma_y": one.sigma[1],
                "dcol": dcol, "drow": drow, "group": one.group, "n_pairs": one.n_pairs,
                "n_accepted": one.n_accepted, "n_outliers": one.n_outliers, "ratio": one.ratio,
            }
            for one, (dcol, drow) in zip((one for one in self.dates if one.role == "date"), px, strict=True)
        ])  # fmt: skip

    def pairs_dataframe(self) -> pd.DataFrame:
        """One row per pair: names of both dates, correction, status, residual, windows.

        Returns
        -------
        pandas.DataFrame
        """
        pairs, names = self.pairs, [one.name for one in self.dates]
        sigma = np.sqrt(np.diagonal(pairs.cov, axis1=1, axis2=2))
        status = [Status(int(one)).name for one in pairs.status]
        return pd.DataFrame({
            "target": [names[at] for at in pairs.target], "reference": [names[at] for at in pairs.reference],
            "dcol": pairs.dcol, "drow": pairs.drow, "sigma_col": sigma[:, 0], "sigma_row": sigma[:, 1],
            "status": status, "outlier": pairs.outlier, "accepted": pairs.accepted,
            "kind": [self.kinds[at] for at in pairs.kind], "n_windows": pairs.n_windows, "n_ok": pairs.n_ok,
            "reliability": pairs.reliability, "res_col": pairs.res_col, "res_row": pairs.res_row,
            "normalised": pairs.normalised, "redundancy": pairs.redundancy,
        })  # fmt: skip

    def with_datum(self, datum: Any) -> StackFit:
        """Adjust the same pairs in another datum; relative corrections do not change.

        Parameters
        ----------
        datum : str, datetime64 or int
            "mean", or the date (or reference image) that stays in place.

        Returns
        -------
        StackFit

        Raises
        ------
        OptionError
            When there is no such date, or for fields, which have to be matched again.
        """
        if self.fields:
            raise OptionError("the datum of fields cannot be changed: match_stack_local(..., datum=...)")
        return self.adjusted(self.dates, self.pairs, "mean" if isinstance(datum, str) and datum == "mean" else datum)

    def adjusted(self, dates: tuple[StackDate, ...], pairs: StackPairs, datum: Any) -> StackFit:
        """Adjust pairs of dates anew, in a datum ("mean", a date, or names of dates whose mean stays).

        Parameters
        ----------
        dates : tuple of StackDate
        pairs : StackPairs
        datum : str, datetime64, int or tuple of str

        Returns
        -------
        StackFit
        """
        fixed = datum if isinstance(datum, tuple) or is_name(datum, ("mean",)) else self._datum_name(datum)
        found = adjust_stack(dates, pairs, fixed, georef.linear_of(self.transform), self.reference_sigma)
        name = "mean" if isinstance(fixed, tuple) else fixed
        parts: dict[str, Any] = {
            "dates": found.dates,
            "pairs": found.pairs,
            "quality": found.quality,
            "kinds": found.kinds,
        }
        return replace(self, **parts, datum=name, datum_dates=found.datum_dates)

    def _datum_name(self, datum: Any) -> str:
        references = [one.name for one in self.dates if one.role == "reference"]
        return str(datum) if str(datum) in references else self.names[self.position(datum)]

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, StackFit):
            return NotImplemented
        return replace(self, date="").to_dict() == replace(other, date="").to_dict()

    __hash__ = None  # type: ignore[assignment]

    def __repr__(self) -> str:
        return f"StackFit({describe_stack(self)})"

    def _repr_html_(self) -> str:
        return stack_html(self)

    def summary(self) -> str:
        """Describe the stack, one line per fact and per date.

        Returns
        -------
        str
        """
        return summarise_stack(self)

    def plot(self, kind: str = "series") -> Any:
        """Draw the stack; see :func:`xcoreg.plot.plot_stack`. Needs the extra `plot`.

        Parameters
        ----------
        kind : {"series", "residuals", "network"}
            Corrections over time with error bars; residuals of pairs, date by date; which dates were matched.

        Returns
        -------
        matplotlib.figure.Figure
        """
        from xcoreg.plot import plot_stack

        return plot_stack(self, kind)

    def report(self, path: str | Path, *, title: str = "Time series, adjusted together") -> Path:
        """Write one self-contained HTML page. Needs the extra `plot`.

        Parameters
        ----------
        path : str or Path
            Where to.
        title : str
            Title of the page.

        Returns
        -------
        Path
            Of the page.
        """
        from xcoreg.report.stack import write_stack_report

        return write_stack_report(self, path, title=title)

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON types, exact: what :meth:`save` writes."""
        return {
            "format": FORMAT,
            "schema": SCHEMA,
            "dates": [to_plain(one) for one in self.dates],
            "pairs": self.pairs.to_dict(),
            "quality": to_plain(self.quality),
            "fields": [None if one is None else one.to_dict() for one in self.fields],
            **{name: getattr(self, name) for name in _AS_THEY_ARE},
            **{name: list(getattr(self, name)) for name in _LISTS},
        }

    @classmethod
    def from_dict(cls, data: dict[str, Any]) -> StackFit:
        """Undo :meth:`to_dict`; a missing key or a wrong type raises KeyError, TypeError or ValueError."""
        return cls(
            dates=tuple(StackDate(**from_plain(one, StackDate)) for one in data["dates"]),
            pairs=StackPairs.from_dict(data["pairs"]),
            quality=StackQuality(**from_plain(data["quality"], StackQuality)),
            fields=tuple(None if one is None else Coregistration.from_dict(one) for one in data["fields"]),
            **({name: data[name] for name in _AS_THEY_ARE} | {name: tuple(data[name]) for name in _LISTS}),
        )

    def save(self, path: str | Path) -> None:
        """Write the stack as one JSON file, whole or not at all.

        Parameters
        ----------
        path : str or Path
            The goal; an existing file is replaced.
        """
        parts = (f"{json.dumps(key)}: {json.dumps(value, allow_nan=False)}" for key, value in self.to_dict().items())
        with replacing(path) as temporary:
            temporary.write_text("{\n" + ",\n".join(parts) + "\n}\n", encoding="utf-8")


_AS_THEY_ARE = ("datum", "crs_wkt", "reference_sigma", "options", "versions", "date")
_LISTS = ("datum_dates", "transform", "shape", "kinds")


def load_stack(path: str | Path) -> StackFit:
    """Read a stack written by :meth:`StackFit.save`.

    Parameters
    ----------
    path : str or Path
        The JSON file.

    Returns
    -------
    StackFit
        Equal to the one that was saved, to the last digit.

    Raises
    ------
    OptionError
        When there is no such file, it holds something else, is damaged, or was written by a newer xcoreg.

    Examples
    --------
    >>> import tempfile, xcoreg
    >>> stack = xcoreg.match_stack(xcoreg.simulate.cube(3, (128, 128), clouds=0, seed=1).cube)
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     stack.save(f"{folder}/stack.json")
    ...     load_stack(f"{folder}/stack.json") == stack
    True
    """
    return read_result(path, FORMAT, SCHEMA, _checked_stack)


def _checked_stack(data: dict[str, Any]) -> StackFit:
    stack = StackFit.from_dict(data)
    n, pairs = len(stack.dates), stack.pairs
    ends = np.concatenate([pairs.target, pairs.reference])
    if stack.fields and len(stack.fields) != n:
        raise ValueError(f"{len(stack.fields)} fields of {n} dates")
    if ends.size and not 0 <= ends.min() <= ends.max() < n:
        raise ValueError("pairs of dates that are not there")
    check_grids(stack.grid, *(one.grid for one in stack.dates))
    texts = (stack.datum, stack.date, *stack.datum_dates, *stack.kinds, *stack.quality.warnings)
    if not all(isinstance(one, str) for one in texts):
        raise TypeError("a name, a date or a warning that is no text")
    if {one.role for one in stack.dates} - {"date", "reference"} or not float(stack.reference_sigma) >= 0:
        raise ValueError("a role or a standard deviation that cannot be")
    times_of(stack.dates), stack.pairs_dataframe(), stack.summary()  # what cannot be reported now would break later
    for one in stack.placed[:1]:
        stack.fit(one.name)
    return stack
