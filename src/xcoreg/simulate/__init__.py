"""Synthetic scenes with exact truth, to measure accuracy.

A shift is the correction, ``x_ref = x_tgt + dcol``: content at target pixel ``(row, col)`` lies in the reference at
``(row + drow, col + dcol)``.
"""

from xcoreg.simulate.cubes import SimulatedCube, cube
from xcoreg.simulate.pairs import Acquisition, Product, SimulatedPair, blob_mask, pair
from xcoreg.simulate.pushbroom import RawScene, raw_scene
from xcoreg.simulate.scene import Constant, Displacement, Texture, WindowPairs, similarity, smooth_field, window_pairs
from xcoreg.simulate.terrain import DemNoise, DemPair, Mosaic, dem_pair

__all__ = [
    "Acquisition", "Constant", "DemNoise", "DemPair", "Displacement", "Mosaic", "Product", "RawScene",
    "SimulatedCube", "SimulatedPair", "Texture", "WindowPairs", "blob_mask", "cube", "dem_pair", "pair",
    "raw_scene", "similarity", "smooth_field", "window_pairs",
]  # fmt: skip
