"""From two images and options to windows on a common grid."""

from __future__ import annotations

from xcoreg.plan.choose import choose_centres, keep_inside, overlap_size, spread_out, window_size
from xcoreg.plan.cutter import Cut, Cutter, make_cutters
from xcoreg.plan.layout import default_spacing, lay_out, local_window, tiles
from xcoreg.plan.masks import Mask, as_mask
from xcoreg.plan.options import LocalOptions, MatchLocalOptions, MatchOptions, Options, check_options
from xcoreg.plan.outlines import inside, outside

__all__ = [
    "Cut",
    "Cutter",
    "LocalOptions",
    "Mask",
    "MatchLocalOptions",
    "MatchOptions",
    "Options",
    "as_mask",
    "check_options",
    "choose_centres",
    "default_spacing",
    "inside",
    "keep_inside",
    "lay_out",
    "local_window",
    "make_cutters",
    "outside",
    "overlap_size",
    "spread_out",
    "tiles",
    "window_size",
]
