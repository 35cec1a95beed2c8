"""Charts of a fit: residuals, directions, verdicts."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from xcoreg import georef
from xcoreg.plot.style import BAD, GOOD
from xcoreg.results.html import LOOKS, ordered

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from xcoreg.plot.residuals import Residuals
    from xcoreg.results.tiepoints import TiePoints

__all__ = ["draw_histogram", "draw_rose", "draw_verdicts"]

_DOTS = 3000


def draw_histogram(axes: Any, left: Residuals, *, told: str = "") -> None:
    """Draw the distribution of residuals along columns and rows.

    Parameters
    ----------
    axes : matplotlib axes
    left : Residuals
    told : str
        A second line of the title.
    """
    if len(left) == 0:
        axes.axis("off")
        axes.text(0.5, 0.5, "no residuals", ha="center", va="center", transform=axes.transAxes)
        return
    values = np.stack([left.dcol, left.drow])
    top = max(float(np.percentile(np.abs(values), 98)) * 1.25, 1e-3)
    bins = np.linspace(-top, top, int(np.clip(2 * np.sqrt(len(left)), 11, 61)) // 2 * 2 + 1)
    for name, one, colour in (("dcol (right)", values[0], GOOD), ("drow (down)", values[1], BAD)):
        nmad = 1.4826 * float(np.median(np.abs(one - np.median(one))))
        label = f"{name}: median {np.median(one):+.3f}, NMAD {nmad:.3f} px"
        axes.hist(np.clip(one, -top, top), bins, histtype="stepfilled", color=colour, alpha=0.35)
        axes.hist(np.clip(one, -top, top), bins, histtype="step", color=colour, lw=1.4, label=label)
    axes.axvline(0, color="black", lw=0.8)
    beyond = int((np.abs(values) > top).any(axis=0).sum())
    kind = "withheld points" if left.withheld else "points of the fit"
    title = f"What is left on {len(left)} {kind}" + (f"\n{told}" if told else "")
    axes.set_title(title, fontsize=11)
    note = f" (outermost bins: {beyond} beyond)" if beyond else ""
    axes.set_xlabel(f"observed minus predicted, target px{note}", fontsize=9)
    axes.set_ylabel("points")
    axes.set_ylim(0, axes.get_ylim()[1] * 1.3)  # room for the legend
    axes.legend(fontsize=8, loc="upper right", frameon=False)
    axes.spines[["top", "right"]].set_visible(False)


def draw_rose(axes: Any, points: TiePoints) -> None:
    """Draw directions and lengths of the trusted corrections, North up, clockwise.

    Parameters
    ----------
    axes : polar matplotlib axes
    points : TiePoints
    """
    good = points.take(points.ok & np.isfinite(points.dx) & np.isfinite(points.dy))
    axes.set_theta_zero_location("N")
    axes.set_theta_direction(-1)
    axes.set_xticks(np.radians(np.arange(0, 360, 45)), ["N", "NE", "E", "SE", "S", "SW", "W", "NW"])
    axes.tick_params(labelsize=8)
    if len(good):
        azimuth = np.arctan2(good.dx * _squeeze(good), good.dy)
        in_pixels = bool(np.isfinite(good.dcol).all())
        length = np.hypot(good.dcol, good.drow) if in_pixels else good.length
        top = max(float(np.percentile(length, 99)) * 1.12, 1e-12)
        counts, edges = np.histogram(azimuth % (2 * np.pi), np.linspace(0, 2 * np.pi, 37))
        # Petals tell how many, dots how far; both share the radius, so the petals have no scale of their own.
        axes.bar(edges[:-1], counts / counts.max() * top * 0.97, width=np.diff(edges), align="edge",
                 color=GOOD, alpha=0.22, lw=0.6, edgecolor=GOOD)  # fmt: skip
        dots = slice(None, None, max(1, len(good) // _DOTS))
        axes.scatter(azimuth[dots], length[dots], s=8 if len(good) < 500 else 2.5, color="black", alpha=0.45, lw=0)
        axes.set_rlim(0, top)
        axes.set_rlabel_position(22.5 if counts[:5].sum() < counts.sum() / 3 else 157.5)
        axes.yaxis.get_major_locator().base.set_params(nbins=4)
        axes.set_xlabel(f"dots: length, {'target px' if in_pixels else 'map units'}; petals: number", fontsize=9)
    axes.set_title("Direction of the corrections", fontsize=11)


def _squeeze(points: TiePoints) -> NDArray[np.float64]:
    """Length of a unit of x in units of y, on the ground."""
    geographic = points.crs_wkt is not None and georef.as_crs(points.crs_wkt).is_geographic
    return np.cos(np.radians(points.y)) if geographic else np.ones(len(points))


def draw_verdicts(axes: Any, points: TiePoints) -> None:
    """Draw what became of the windows: a bar per status, in the colours of the map.

    Parameters
    ----------
    axes : matplotlib axes
    points : TiePoints
    """
    rows = ordered(points.counts())
    axes.set_title("What became of the windows", fontsize=11, loc="left")
    axes.axis("off")
    if not rows:
        return
    most = max(n for _, n in rows)
    for i, (status, n) in enumerate(rows):
        marker, colour = LOOKS[status]
        axes.barh(i, n / most * 0.42, left=0.58, color=colour, height=0.62, edgecolor="black", lw=0.4)
        axes.scatter(0.02, i, marker=marker, color=colour, edgecolors="black", lw=0.5, s=34)
        axes.text(0.06, i, f"{status.name.lower().replace('_', ' ')}", va="center", fontsize=9)
        axes.text(0.565, i, f"{n}", va="center", ha="right", fontsize=9)
    axes.set_xlim(0, 1.02)
    axes.set_ylim(max(len(rows), 4) - 0.4, -0.6)
