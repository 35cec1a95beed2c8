"""Applying a fit: the transform moved and every pixel untouched, or one interpolation onto another grid."""

from __future__ import annotations

from xcoreg.warp.apply_fit import apply

__all__ = ["apply"]
