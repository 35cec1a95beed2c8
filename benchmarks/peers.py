"""Other correlators, where they are installed, asked the same question: the correction target -> reference, px."""

from __future__ import annotations

from collections.abc import Callable
from importlib.util import find_spec

import numpy as np

__all__ = ["ALL", "PEERS", "Peer", "to_bytes", "track"]

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


def to_bytes(image: np.ndarray) -> np.ndarray:
    """Stretch an image to 8 bits, which is all that OpenCV's tracker takes."""
    low, high = np.percentile(image[::4, ::4], [1, 99])
    return np.clip((image - low) * (255 / max(high - low, 1e-9)), 0, 255).astype(np.uint8)


def track(ref: np.ndarray, tgt: np.ndarray, places: np.ndarray, window: int) -> np.ndarray:
    """Corrections (n, 2) at places (n, 2), columns and rows, by Lucas and Kanade's tracker; NaN where it gives up."""
    import cv2

    at = places.astype(np.float32)[:, None]
    stop = (cv2.TERM_CRITERIA_EPS | cv2.TERM_CRITERIA_COUNT, 30, 1e-3)
    found, ok, _ = cv2.calcOpticalFlowPyrLK(
        to_bytes(tgt), to_bytes(ref), at, None, winSize=(window, window), maxLevel=3, criteria=stop
    )
    return np.where(ok == 1, (found - at)[:, 0], np.nan)


def _klt(ref: np.ndarray, tgt: np.ndarray) -> tuple[float, float]:
    """Median of the corrections at up to 500 corners."""
    import cv2

    corners = cv2.goodFeaturesToTrack(to_bytes(tgt), 500, 0.01, 8)
    if corners is None:
        return np.nan, np.nan
    dcol, drow = np.nanmedian(track(ref, tgt, corners[:, 0], 31), axis=0)
    return float(dcol), float(drow)


# Each with the module that has to be there.
ALL: dict[str, tuple[str, Peer]] = {
    "scikit-image": ("skimage", _skimage),
    "cv2.phaseCorrelate": ("cv2", _phase_correlate),
    "cv2 ECC": ("cv2", _ecc),
    "cv2 KLT": ("cv2", _klt),
}

PEERS: dict[str, Peer] = {name: peer for name, (module, peer) in ALL.items() if find_spec(module)}
