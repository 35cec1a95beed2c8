"""Results told to people, in text and HTML.

What happened on the way is read from `fit.settings["interim"]`, as :mod:`xcoreg.summary.single` describes, and from
`fit.settings["assessment"]`:

- `models`: a row (dict) per kind of model that was tried: `kind`, `chosen`, `reason` why it could not be fitted, and
  its errors at withheld points;
- `check`: `window`, `dx`, `dy`: lists of equal length, what the tie points left after a fit without them (observed
  minus predicted, CRS units).
"""

from __future__ import annotations

from xcoreg.summary.explore import explore_fit
from xcoreg.summary.field import correction_range, is_local, model_name
from xcoreg.summary.numbers import short_unit, tell_shift
from xcoreg.summary.page import html_fit, html_points
from xcoreg.summary.tell import fit_rows, summarise, tell_accessor, tell_fit

__all__ = [
    "correction_range",
    "explore_fit",
    "fit_rows",
    "html_fit",
    "html_points",
    "is_local",
    "model_name",
    "short_unit",
    "summarise",
    "tell_accessor",
    "tell_fit",
    "tell_shift",
]
