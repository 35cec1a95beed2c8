"""Drop-in for AROSICS 1.13: its classes, names, signs and outputs, over xcoreg's own matching.

``from xcoreg.arosics import COREG, COREG_LOCAL, DESHIFTER`` runs a script that was written for AROSICS. Images are
paths, DataArrays, or GeoArrays, those of the package of that name or of here. What xcoreg does in another way is named
in docs/howto/arosics.md; an option that has no meaning here is accepted with a warning that says why.
"""

from __future__ import annotations

from xcoreg.arosics.classes import COREG, COREG_LOCAL, DESHIFTER
from xcoreg.arosics.geoarray import GeoArray
from xcoreg.arosics.points import Tie_Point_Grid

__all__ = ["COREG", "COREG_LOCAL", "DESHIFTER", "GeoArray", "Tie_Point_Grid"]
