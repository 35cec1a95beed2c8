"""Figures: before and after, the windows of a fit, and what a matcher saw; needs the extra `plot`.

Every plot function returns a `matplotlib.figure.Figure` made without pyplot: nothing pops up, nothing has to be closed,
and any thread may draw. Notebooks show it, `figure.savefig(path)` or :func:`save_figure` writes it. Without matplotlib
each raises MissingDependency.
"""

from __future__ import annotations

from xcoreg.plot.compare import plot_before_after, plot_surface, plot_windows, save_flicker
from xcoreg.plot.dem import plot_blocks, plot_dem
from xcoreg.plot.dem_errors import plot_dem_errors
from xcoreg.plot.fields import plot_field, plot_fit, plot_model, plot_points
from xcoreg.plot.profiles import plot_profiles
from xcoreg.plot.stack import plot_stack, save_animation
from xcoreg.plot.style import save_figure
from xcoreg.plot.viewer import Page, animate, swipe
from xcoreg.plot.windows import plot_window

__all__ = [
    "Page", "animate", "plot_before_after", "plot_blocks", "plot_dem", "plot_dem_errors", "plot_field", "plot_fit",
    "plot_model", "plot_points", "plot_profiles", "plot_stack", "plot_surface", "plot_window", "plot_windows",
    "save_animation", "save_figure", "save_flicker", "swipe",
]  # fmt: skip
