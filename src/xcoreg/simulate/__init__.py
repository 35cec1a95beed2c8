"""Synthetic scenes whose truth is exact: what accuracy to expect, measured instead of believed.

A shift is the correction, ``x_ref = x_tgt + dcol``: content at target pixel ``(row, col)`` lies in the reference at
``(row + drow, col + dcol)``.
"""

from xcoreg.simulate.blobs import blob_mask
from xcoreg.simulate.displacement import Constant, Displacement, Similarity, SmoothField, similarity, smooth_field
from xcoreg.simulate.options import Acquisition, Product
from xcoreg.simulate.pair import SimulatedPair, pair
from xcoreg.simulate.scene import Scene, Texture
from xcoreg.simulate.terrain import DemNoise, DemPair, Mosaic, dem_pair
from xcoreg.simulate.windows import WindowPairs, window_pairs

__all__ = [
    "Acquisition",
    "Constant",
    "DemNoise",
    "DemPair",
    "Displacement",
    "Mosaic",
    "Product",
    "Scene",
    "Similarity",
    "SimulatedPair",
    "SmoothField",
    "Texture",
    "WindowPairs",
    "blob_mask",
    "dem_pair",
    "pair",
    "similarity",
    "smooth_field",
    "window_pairs",
]
