"""Other correlators, where they are installed, asked the same question: the correction target -> reference, px."""

from __future__ import annotations

from collections.abc import Callable
from importlib.util import find_spec

import numpy as np

__all__ = ["ALL", "PEERS", "Peer"]

Peer = Callable[[np.ndarray, np.ndarray], tuple[float, float]]


def _skimage(ref: np.ndarray, tgt: np.ndarray) -> tuple[float, float]:
    from skimage.registration import phase_cross_correlation

    drow, dcol = phase_cross_correlation(ref, tgt, upsample_factor=100)[0]
    return float(dcol), float(drow)


def _phase_correlate(ref: np.ndarray, tgt: np.ndarray) -> tuple[float, float]:
    import cv2

    hann = cv2.createHanningWindow(ref.shape[::-1], cv2.CV_32F)
    (dcol, drow), _ = cv2.phaseCorrelate(tgt, ref, hann)
    return dcol, drow


def _ecc(ref: np.ndarray, tgt: np.ndarray) -> tuple[float, float]:
    import cv2

    stop = (cv2.TERM_CRITERIA_EPS | cv2.TERM_CRITERIA_COUNT, 200, 1e-9)
    warp = np.eye(2, 3, dtype=np.float32)
    try:
        _, warp = cv2.findTransformECC(tgt, ref, warp, cv2.MOTION_TRANSLATION, stop, None, 5)  # blurred by 5 px
    except cv2.error:
        return np.nan, np.nan
    return float(warp[0, 2]), float(warp[1, 2])


# Each with the module that has to be there.
ALL: dict[str, tuple[str, Peer]] = {
    "scikit-image": ("skimage", _skimage),
    "cv2.phaseCorrelate": ("cv2", _phase_correlate),
    "cv2 ECC": ("cv2", _ecc),
}

PEERS: dict[str, Peer] = {name: peer for name, (module, peer) in ALL.items() if find_spec(module)}
