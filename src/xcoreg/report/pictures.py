"""The pictures of a report, each as an HTML figure with its image inside."""

from __future__ import annotations

import base64
import io
import math
from typing import TYPE_CHECKING, Any

import numpy as np

from xcoreg.errors import require
from xcoreg.plot.charts import draw_histogram, draw_rose
from xcoreg.plot.fields import draw_residuals, draw_sheet, sheets_of
from xcoreg.plot.maps import draw_map
from xcoreg.plot.residuals import residuals_of
from xcoreg.plot.style import new_figure
from xcoreg.plot.view import outline
from xcoreg.report.html import escape

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from xcoreg.results.coregistration import Coregistration

__all__ = ["chart_figures", "figure_html", "image_source", "map_figure", "model_figures"]

_DPI = 100


def image_source(grey: NDArray[np.float64]) -> str:
    """Pack a grey image into a data URI: WebP where it can be written, else PNG.

    Parameters
    ----------
    grey : (rows, cols) float64
        0 to 1.

    Returns
    -------
    str

    Examples
    --------
    >>> image_source(np.zeros((4, 4)))[:11]
    'data:image/'
    """
    pillow = require("PIL.Image", extra="plot")
    image = pillow.fromarray(np.rint(np.clip(np.nan_to_num(grey), 0, 1) * 255).astype(np.uint8))
    kind = "WEBP" if require("PIL.features", extra="plot").check("webp") else "PNG"
    buffer = io.BytesIO()
    image.save(buffer, kind, **({"quality": 88, "method": 6} if kind == "WEBP" else {"optimize": True}))
    return f"data:image/{kind.lower()};base64,{base64.b64encode(buffer.getvalue()).decode('ascii')}"


def figure_html(figure: Any, alt: str, caption: str = "") -> str:
    """Pack a matplotlib figure into an HTML figure.

    Parameters
    ----------
    figure : matplotlib.figure.Figure
    alt : str
        What a reader who cannot see it should know.
    caption : str

    Returns
    -------
    str
    """
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=_DPI)
    text = base64.b64encode(buffer.getvalue()).decode("ascii")
    width, height = (round(inches * _DPI) for inches in figure.get_size_inches())
    told = f"<figcaption>{escape(caption)}</figcaption>" if caption else ""
    image = f'<img src="data:image/png;base64,{text}" alt="{escape(alt)}" width="{width}" height="{height}">'
    return f"<figure>{image}{told}</figure>"


def _size(fit: Coregistration, height: float) -> tuple[float, float]:
    """Inches of a map with its colour bar."""
    across, up = np.ptp(outline(fit.transform, fit.shape), axis=0)
    wide = float(np.clip(across / up, 0.45, 2.4))
    return (height - 1) * wide + 2.3, height


def map_figure(fit: Coregistration, background: Any) -> str:
    """Draw the map of the tie points."""
    figure = new_figure(*_size(fit, 7.2))
    frame = outline(fit.transform, fit.shape)
    draw_map(figure, figure.add_subplot(), fit.points, background, (frame, fit.transform), legend=False)
    counts = ", ".join(f"{n} {name}" for name, n in fit.points.counts().items())
    alt = f"Map of the target with an arrow for each trusted window and a mark for each refused one: {counts}."
    return figure_html(figure, alt, "Arrows: corrections, greatly enlarged. Marks: refused windows, as in the table.")


def chart_figures(fit: Coregistration) -> list[str]:
    """Draw the histogram of the residuals and the directions of the corrections."""
    left, made = residuals_of(fit), []
    if len(left):
        figure = new_figure(6, 4.2)
        draw_histogram(figure.add_subplot(), left)
        rms = math.sqrt(float(np.mean(left.length**2)))
        alt = (
            f"Histogram of the residuals of {len(left)} tie points along columns and rows, radial RMS {rms:.3f} pixels."
        )
        made.append(figure_html(figure, alt))
    if fit.points.ok.any():
        figure = new_figure(6, 4.6)
        draw_rose(figure.add_subplot(projection="polar"), fit.points)
        made.append(figure_html(figure, "Polar plot of the directions and lengths of the corrections."))
    return made


def model_figures(fit: Coregistration) -> list[str]:
    """Draw maps of dx, dy, sigma and residuals."""
    if fit.model is None:
        return []
    sheets, made = sheets_of(fit), []
    texts = {"dx": "along x", "dy": "along y", "sigma": "uncertainty"}
    for i, (name, text) in enumerate(texts.items()):
        figure = new_figure(*_size(fit, 5.4))
        draw_sheet(figure, figure.add_subplot(), fit, sheets, name)
        inner = sheets.values[i][~sheets.outside & np.isfinite(sheets.values[i])]
        span = f"{inner.min():.4g} to {inner.max():.4g}{sheets.unit}" if inner.size else "unknown"
        made.append(figure_html(figure, f"Map of the model, {text}: {span} between the tie points."))
    left = residuals_of(fit)
    if len(left):
        figure = new_figure(*_size(fit, 5.4))
        draw_residuals(figure, figure.add_subplot(), fit, left)
        alt = f"Map of what is left at {len(left)} tie points, median {np.median(left.length):.3f} pixels."
        made.append(figure_html(figure, alt))
    return made
