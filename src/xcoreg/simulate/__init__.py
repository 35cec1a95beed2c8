"""Synthetic scenes whose truth is exact: what accuracy to expect, measured instead of believed."""

from xcoreg.simulate.scene import Scene, Texture
from xcoreg.simulate.windows import WindowPairs, window_pairs

__all__ = ["Scene", "Texture", "WindowPairs", "window_pairs"]
