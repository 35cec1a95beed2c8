"""What figures share: creation without pyplot, contrast, composites, charts of residuals, directions and statuses."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from xcoreg import georef
from xcoreg.core import Array, Bools, Floats
from xcoreg.core.quality import nmad
from xcoreg.errors import OptionError, require
from xcoreg.files import replacing
from xcoreg.results.coregistration import Coregistration
from xcoreg.results.html import STATUS_STYLES, sort_statuses
from xcoreg.results.tiepoints import TiePoints

#: Colours of trusted and refused; colour-blind people can distinguish them.
GOOD, BAD = "#0072b2", "#d55e00"
#: Lower and upper limit, and the exponent after them.
Contrast = tuple[float, float, float]
_MISSING = 0.55  # grey of pixels without a value
_MIDDLE = 0.4  # grey of the median
_SCREEN = 90  # dots per inch in notebooks: a figure of 11 inches fills a page


def new_figure(width: float, height: float) -> Any:
    """Make an empty figure without pyplot."""
    figure = require("matplotlib.figure", extra="plot").Figure(figsize=(width, height), layout="constrained")
    figure.set_facecolor("white")
    # Notebooks show the figures of pyplot; a figure without pyplot needs its own representation.
    figure._repr_png_ = partial(png_of, figure, _SCREEN)
    return figure


def png_of(figure: Any, dpi: int) -> bytes:
    """Figure as the bytes of a PNG."""
    with BytesIO() as stream:
        figure.savefig(stream, format="png", dpi=dpi)
        return stream.getvalue()


def save_figure(figure: Any, path: str | Path, *, dpi: int = 110) -> None:
    """Write a `figure` to `path`, complete or not at all; the suffix (.png, .pdf, .svg, ...) is the format.

    `dpi` are the dots per inch of pixel formats.

    Raises
    ------
    OptionError
        When the format is unknown or the place cannot be written.

    Examples
    --------
    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     save_figure(new_figure(1, 1), f"{folder}/a.png")
    """
    with replacing(path) as temporary:
        try:
            figure.savefig(temporary, dpi=dpi)
        except ValueError as error:
            raise OptionError(f"cannot draw to {path}: {error}") from error


def contrast(images: Sequence[tuple[Array, Bools]]) -> Contrast:
    """One contrast for several images, from the 2nd to the 98th percentile of their valid values."""
    known = [values[valid & np.isfinite(values)].ravel() for values, valid in images]
    pool = np.concatenate(known) if known else np.empty(0)
    if pool.size == 0:
        return 0.0, 1.0, 1.0
    low, middle, high = (float(value) for value in np.percentile(pool, [2, 50, 98]))
    if high <= low:
        return low - 0.5, low + 0.5, 1.0
    median = (middle - low) / (high - low)
    gamma = math.log(_MIDDLE) / math.log(median) if 0 < median < 1 else 1.0
    return low, high, min(max(gamma, 0.4), 1.5)


def stretch(values: Array, valid: Bools, low: float, high: float, gamma: float = 1.0) -> Array:
    """Grey values 0 to 1 between two limits; mid-grey where there is no value."""
    grey = np.clip((values - low) / (high - low), 0.0, 1.0) ** gamma
    return np.where(valid & np.isfinite(grey), grey, _MISSING)


def red_cyan(tgt: Array, ref: Array) -> Array:
    """Colour composite of two grey images, the reference in red, the target in cyan: edges that differ get fringes."""
    return np.stack([ref, tgt, tgt], axis=-1)


def checkerboard(tgt: Array, ref: Array, tiles: int = 5) -> Array:
    """Alternate tiles of two grey images, as RGB; those of the target have a faint tint."""
    rows, cols = ref.shape
    row, col = np.arange(rows) * tiles // rows, np.arange(cols) * tiles // cols
    of_tgt = (row[:, None] + col) % 2 == 1
    # A faint tint marks the tiles of the target and does not hide lines that break at a border; 1 keeps white white.
    tinted = np.stack([0.9 * tgt + 0.1 * tgt**2, tgt, 0.93 * tgt + 0.07 * np.sqrt(tgt)], axis=-1)
    return np.where(of_tgt[..., None], tinted, ref[..., None])


def plain_ticks(axes: Any) -> None:
    """Show map coordinates in full, few enough to be read."""
    ticker = require("matplotlib.ticker", extra="plot")
    for axis in (axes.xaxis, axes.yaxis):
        axis.set_major_locator(ticker.MaxNLocator(4))
        axis.set_major_formatter(ticker.FuncFormatter(lambda value, _: f"{value:.10g}"))
    axes.tick_params(labelsize=9)


@dataclass(frozen=True)
class SignedScale:
    """Colours of a signed quantity, diverging about 0: of the values themselves, or of their distance to `middle`.

    Values that are all far from 0, as a nearly constant shift, would have one colour: their middle is subtracted, and
    `text` says so.
    """

    middle: float
    top: float
    text: str

    @classmethod
    def of(cls, values: Floats) -> SignedScale:
        """Make the scale of some values, of which those that are not finite do not count."""
        known = values[np.isfinite(values)]
        if not known.size:
            return cls(0.0, 1.0, "")
        low, centre, high = (float(v) for v in np.percentile(known, [1, 50, 99]))
        far = abs(centre) > high - low
        middle = float(f"{centre:.3g}") if far else 0.0
        top = max(abs(low - middle), abs(high - middle), 1e-9 * max(abs(centre), 1e-3))
        sign = "-" if middle > 0 else "+"
        return cls(middle, top, f" {sign} {abs(middle):.3g}" if far else "")

    @property
    def style(self) -> dict[str, Any]:
        """Colours and limits, as matplotlib takes them."""
        return {"cmap": "RdBu_r", "vmin": -self.top, "vmax": self.top}


def legend_below(axes: Any, points: float = 34.0, **style: Any) -> None:
    """Put the legend below the labels of the x axis, at a distance in points, where it covers no data."""
    transforms = require("matplotlib.transforms", extra="plot")
    down = transforms.ScaledTranslation(0, -points / 72, axes.figure.dpi_scale_trans)
    where = {"loc": "upper center", "bbox_to_anchor": (0.5, 0.0), "bbox_transform": axes.transAxes + down}
    axes.legend(**({"fontsize": 9, "frameon": False} | where | style))


_DOTS = 3000


def draw_histogram(axes: Any, residuals: Residuals, *, note: str = "") -> None:
    """Draw the distribution of residuals along columns and rows."""
    if len(residuals) == 0:
        axes.axis("off")
        axes.text(0.5, 0.5, "no residuals", ha="center", va="center", transform=axes.transAxes)
        return
    values = np.stack([residuals.dcol, residuals.drow])
    top = max(float(np.percentile(np.abs(values), 98)) * 1.25, 1e-3)
    bins = np.linspace(-top, top, int(np.clip(2 * np.sqrt(len(residuals)), 11, 61)) // 2 * 2 + 1)
    for name, one, colour in (("dcol (right)", values[0], GOOD), ("drow (down)", values[1], BAD)):
        label = f"{name}: median {np.median(one):+.3f}, NMAD {nmad(one):.3f} px"
        axes.hist(np.clip(one, -top, top), bins, histtype="stepfilled", color=colour, alpha=0.35)
        axes.hist(np.clip(one, -top, top), bins, histtype="step", color=colour, lw=1.4, label=label)
    axes.axvline(0, color="black", lw=0.8)
    beyond = int((np.abs(values) > top).any(axis=0).sum())
    kind = "check points" if residuals.at_check_points else "points of the fit"
    title = f"Residuals at {len(residuals)} {kind}" + (f"\n{note}" if note else "")
    axes.set_title(title, fontsize=10)
    outer = f"\n(outermost bins: {beyond} beyond)" if beyond else ""
    axes.set_xlabel(f"observed minus predicted, target px{outer}", fontsize=9)
    axes.set_ylabel("points")
    axes.yaxis.get_major_locator().set_params(integer=True)
    legend_below(axes, 46.0 if outer else 34.0)
    axes.spines[["top", "right"]].set_visible(False)


def draw_rose(axes: Any, points: TiePoints) -> None:
    """Draw directions and lengths of the trusted corrections, North up, clockwise."""
    good = points.take(points.ok & np.isfinite(points.dx) & np.isfinite(points.dy))
    axes.set_theta_zero_location("N")
    axes.set_theta_direction(-1)
    axes.set_xticks(np.radians(np.arange(0, 360, 45)), ["N", "NE", "E", "SE", "S", "SW", "W", "NW"])
    axes.tick_params(labelsize=8)
    if len(good):
        geographic = good.crs_wkt is not None and georef.as_crs(good.crs_wkt).is_geographic
        azimuth = np.arctan2(good.dx * (np.cos(np.radians(good.y)) if geographic else 1.0), good.dy)
        in_pixels = bool(np.isfinite(good.dcol).all())
        length = np.hypot(good.dcol, good.drow) if in_pixels else good.length
        top = max(float(np.percentile(length, 99)) * 1.12, 1e-12)
        counts, edges = np.histogram(azimuth % (2 * np.pi), np.linspace(0, 2 * np.pi, 37))
        # Petals show numbers, dots lengths; they share the radius, so the petals have no scale of their own.
        axes.bar(edges[:-1], counts / counts.max() * top * 0.97, width=np.diff(edges), align="edge",
                 color=GOOD, alpha=0.22, lw=0.6, edgecolor=GOOD)  # fmt: skip
        dots = slice(None, None, max(1, len(good) // _DOTS))
        axes.scatter(azimuth[dots], length[dots], s=8 if len(good) < 500 else 2.5, color="black", alpha=0.45, lw=0)
        axes.set_rlim(0, top)
        axes.set_rlabel_position(22.5 if counts[:5].sum() < counts.sum() / 3 else 157.5)
        axes.yaxis.get_major_locator().base.set_params(nbins=4)
        axes.set_xlabel(f"dots: length, {'target px' if in_pixels else 'map units'}; petals: number", fontsize=9)
    axes.set_title("Direction of the corrections", fontsize=11)


def draw_statuses(axes: Any, points: TiePoints) -> None:
    """Draw the number of windows per status, in the colours of the map."""
    rows = sort_statuses(points.counts())
    axes.set_title("Windows by status", fontsize=11, loc="left")
    axes.axis("off")
    if not rows:
        return
    most = max(n for _, n in rows)
    for i, (status, n) in enumerate(rows):
        marker, colour = STATUS_STYLES[status]
        axes.barh(i, n / most * 0.42, left=0.58, color=colour, height=0.62, edgecolor="black", lw=0.4)
        axes.scatter(0.02, i, marker=marker, color=colour, edgecolors="black", lw=0.5, s=34)
        axes.text(0.06, i, f"{status.name.lower().replace('_', ' ')}", va="center", fontsize=9)
        axes.text(0.565, i, f"{n}", va="center", ha="right", fontsize=9)
    axes.set(xlim=(0, 1.02), ylim=(max(len(rows), 4) - 0.4, -0.6))


@dataclass(frozen=True)
class Residuals:
    """Observed minus predicted correction at n tie points, which `window` (n,) identifies.

    x, y, dx, dy, dcol, drow : (n,) float64; map positions; residuals in CRS units and in target px.
    at_check_points : Whether each point was predicted by a fit without it (cross-validation).
    """

    window: NDArray[np.int64]
    x: Floats
    y: Floats
    dx: Floats
    dy: Floats
    dcol: Floats
    drow: Floats
    at_check_points: bool

    def __len__(self) -> int:
        return int(self.window.size)

    @property
    def length(self) -> Floats:
        """(n,) float64: radial residual, target px."""
        return np.hypot(self.dcol, self.drow)


def residuals_of(fit: Coregistration) -> Residuals:
    """Residuals of a fit at its trusted tie points: at check points where the fit has them, else of the fit itself."""
    assessment = fit.details.assessment
    good = fit.points.take(fit.points.ok)
    dx, dy = np.full((2, len(good)), np.nan)
    if assessment is not None:
        check = assessment.check
        order = {int(window): i for i, window in enumerate(check.window)}
        at = np.array([order.get(int(window), -1) for window in good.window], int)
        dx[at >= 0], dy[at >= 0] = check.dx[at[at >= 0]], check.dy[at[at >= 0]]
    elif fit.model is not None and len(good):
        model: Any = fit.model
        px, py = model.predict(good.x, good.y)
        dx, dy = good.dx - px, good.dy - py
    known = np.isfinite(dx) & np.isfinite(dy)
    good, dx, dy = good.take(known), dx[known], dy[known]
    dcol, drow = georef.vector_to_pixel(georef.linear_of(fit.transform), dx, dy)
    return Residuals(good.window, good.x, good.y, dx, dy, dcol, drow, assessment is not None)
