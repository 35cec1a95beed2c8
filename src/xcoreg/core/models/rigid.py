"""Rigid motion of an elevation model: shift, three rotations and a scale about a centroid."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any, ClassVar

import numpy as np
from numpy.typing import ArrayLike
from scipy.ndimage import map_coordinates

from xcoreg.core import Bools, Floats
from xcoreg.core.matches import decode_column, encode_column
from xcoreg.core.models.base import Pairs, broadcast, to_tuples

#: Heights at map positions, NaN where unknown.
HeightsAt = Callable[[Floats, Floats], Floats]

_ARRAYS = ("rotation", "offset", "centroid", "metric", "cov", "lattice", "heights")


@dataclass(frozen=True, eq=False, repr=False)
class Rigid:
    """Correction ``P_ref = scale * rotation @ P_tgt + offset`` about a centroid, axes East, North and up.

    Horizontal corrections depend on the height where it tilts: :meth:`with_heights` gives the model those of an image,
    as `apply` does. Without, the heights of the target that was matched serve, averaged over a coarse lattice.

    Parameters
    ----------
    rotation : (3, 3) array_like
        Proper rotation matrix.
    offset : (3,) array_like
        East, North, up, in the unit of the heights.
    centroid : (3,) array_like
        Map position and height of the centre; rotations turn about it.
    metric : (2, 2) array_like
        Way to the East and North per unit of the CRS along x and y, in the unit of the heights; identity for metres.
    scale : float
        Of all three axes.
    cov : (7, 7) array_like, optional
        Covariance of offset, rotation vector (radians) and scale.
    lattice, heights : (4,), (n, m) array_like, optional
        Mean heights of the target; x and y of the first, and steps to the right and down, CRS units.

    Notes
    -----
    The rotation is that of points, counter-clockwise about axes East, North and up. Residual, inverse and matrix follow
    from one definition; compositions with another rigid motion are by :meth:`then`.

    Examples
    --------
    >>> turn = Rigid.from_matrix([[0, -1, 0, 5], [1, 0, 0, 0], [0, 0, 1, 2], [0, 0, 0, 1]], centroid=(100, 100, 0))
    >>> dx, dy, dz = turn.correction(101.0, 100.0, 0.0)
    >>> float(dx), float(dy), float(dz)
    (4.0, 1.0, 2.0)
    >>> np.allclose(turn.then(turn.inverse()).matrix, np.eye(4))
    True
    """

    kind: ClassVar[str] = "rigid"
    dz_constant: ClassVar[float | None] = None

    rotation: Floats
    offset: Floats
    centroid: Floats
    metric: Floats = field(default_factory=lambda: np.eye(2))
    scale: float = 1.0
    cov: Floats = field(default_factory=lambda: np.full((7, 7), np.nan))
    lattice: Floats = field(default_factory=lambda: np.zeros(4))
    heights: Floats = field(default_factory=lambda: np.zeros((0, 0)))
    heights_at: HeightsAt | None = None

    def __post_init__(self) -> None:
        for name in _ARRAYS:
            object.__setattr__(self, name, np.array(getattr(self, name), np.float64))
        object.__setattr__(self, "scale", float(self.scale))

    @property
    def matrix(self) -> Floats:
        """Homogeneous matrix (4, 4) of points minus the centroid, in the unit of the heights."""
        out = np.eye(4)
        out[:3, :3], out[:3, 3] = self.scale * self.rotation, self.offset
        return out

    @classmethod
    def from_matrix(cls, matrix: ArrayLike, centroid: ArrayLike, metric: ArrayLike | None = None) -> Rigid:
        """Make a model of a homogeneous matrix (4, 4) about a centroid (x, y, z).

        Raises ValueError where its upper left part is no rotation times a scale.
        """
        given = np.asarray(matrix, np.float64)
        part = given[:3, :3]
        scale = float(np.cbrt(np.linalg.det(part)))
        if given.shape != (4, 4) or not scale > 0 or not np.allclose(part @ part.T, scale**2 * np.eye(3), atol=1e-9):
            raise ValueError("the matrix must be 4 x 4, a rotation times a positive scale and an offset")
        metric = np.eye(2) if metric is None else metric
        return cls(part / scale, given[:3, 3], np.asarray(centroid), np.asarray(metric), scale)

    @property
    def angles(self) -> Floats:
        """Rotation vector (3,) about East, North and up, degrees."""
        turn = self.rotation
        axis = np.array([turn[2, 1] - turn[1, 2], turn[0, 2] - turn[2, 0], turn[1, 0] - turn[0, 1]]) / 2
        sine = float(np.linalg.norm(axis))
        size = np.arctan2(sine, (np.trace(turn) - 1) / 2)
        return np.degrees(axis * (size / sine if sine > 0 else 1.0))

    def inverse(self) -> Rigid:
        """Motion from the reference to the target, about the same centroid."""
        turn = self.rotation.T
        offset = -turn @ self.offset / self.scale
        return replace(self, rotation=turn, offset=offset, scale=1 / self.scale, heights_at=None)

    def then(self, other: Rigid) -> Rigid:
        """Compose with a motion that follows, about the centroid of this one."""
        between = self._local(*other.centroid)  # from this centroid to the other
        matrix = other.matrix @ self.matrix
        # The other turns about its own centroid: carry it over to this one.
        matrix[:3, 3] = other.matrix[:3, :3] @ (self.offset - between) + other.offset + between
        made = Rigid.from_matrix(matrix, self.centroid, self.metric)
        x, y, z = between
        carried = np.eye(7)
        carried[:3, 3:] = [[0, -z, y, -x], [z, 0, -x, -y], [-y, x, 0, -z]]
        cov = self.cov + carried @ other.cov @ carried.T
        return replace(self, rotation=made.rotation, offset=made.offset, scale=made.scale, cov=cov, heights_at=None)

    def with_heights(self, heights_at: HeightsAt) -> Rigid:
        """Use the heights of an image, a function of map positions."""
        return replace(self, heights_at=heights_at)

    def correction(self, x: ArrayLike, y: ArrayLike, z: ArrayLike) -> tuple[Floats, Floats, Floats]:
        """Correction (dx, dy, dz) of places of known height: CRS units, and unit of the heights."""
        x, y, z = np.broadcast_arrays(*(np.asarray(part, np.float64) for part in (x, y, z)))
        place = self._local(x, y, z)
        move = np.tensordot(self.scale * self.rotation - np.eye(3), place, 1)
        move += self.offset.reshape(3, *[1] * x.ndim)
        across = np.tensordot(np.linalg.inv(self.metric), move[:2], 1)
        return across[0], across[1], move[2]

    def predict(self, x: ArrayLike, y: ArrayLike) -> tuple[Floats, Floats]:
        """Horizontal correction at map positions, CRS units; NaN where one is not finite."""
        return self.correction(x, y, self._heights(*broadcast(x, y)))[:2]

    def predict_dz(self, x: ArrayLike, y: ArrayLike) -> Floats:
        """Vertical correction at map positions."""
        return self.correction(x, y, self._heights(*broadcast(x, y)))[2]

    def predict_cov(self, x: ArrayLike, y: ArrayLike) -> Floats:
        """Covariance (..., 2, 2) of the horizontal correction, CRS units squared."""
        x, y = broadcast(x, y)
        e, n, u = self._local(x, y, self._heights(x, y))
        zero, one = np.zeros_like(e), np.ones_like(e)
        jac = np.stack([[one, zero, zero, zero, u, -n, e], [zero, one, zero, -u, zero, e, n]])
        inverse = np.linalg.inv(self.metric)
        jac = np.moveaxis(np.tensordot(inverse, jac, 1), (0, 1), (-2, -1))
        return np.asarray(jac @ self.cov @ np.swapaxes(jac, -1, -2))

    @property
    def scatter(self) -> Pairs:
        """No scatter: it was not fitted to tie points."""
        return to_tuples(np.zeros((2, 2)))

    def extrapolates(self, x: ArrayLike, y: ArrayLike) -> Bools:
        """Nowhere: a motion has no area of validity."""
        return np.zeros(np.broadcast_shapes(np.shape(x), np.shape(y)), bool)

    def _local(self, x: Any, y: Any, z: Any) -> Floats:
        across = np.stack([np.asarray(x) - self.centroid[0], np.asarray(y) - self.centroid[1]])
        return np.concatenate([np.tensordot(self.metric, across, 1), (np.asarray(z) - self.centroid[2])[None]])

    def _heights(self, x: Floats, y: Floats) -> Floats:
        """Heights of the target: of the image where they are known, else of the lattice, else of the centroid."""
        coarse = np.full(x.shape, self.centroid[2])
        if self.heights.size:
            x0, y0, right, down = self.lattice
            at = np.stack([(y - y0) / down, (x - x0) / right])
            coarse = map_coordinates(self.heights, np.nan_to_num(at), order=1, mode="nearest")
        coarse = np.where(np.isfinite(x) & np.isfinite(y), coarse, np.nan)
        if self.heights_at is None:
            return coarse
        own = self.heights_at(x, y)
        return np.where(np.isfinite(own), own, coarse)

    def to_dict(self) -> dict[str, Any]:
        """Convert to JSON types, without losing a digit."""
        return {"kind": self.kind, **{name: encode_column(getattr(self, name)) for name in (*_ARRAYS, "scale")}}

    @classmethod
    def from_dict(cls, data: dict[str, Any]) -> Rigid:
        """Undo :meth:`to_dict`."""
        values: dict[str, Any] = {name: np.asarray(decode_column(data[name]), np.float64) for name in _ARRAYS}
        shape = (0, 0) if not values["heights"].size else values["heights"].shape
        return cls(**{**values, "heights": values["heights"].reshape(shape)}, scale=float(decode_column(data["scale"])))

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Rigid):
            return NotImplemented
        same = (np.array_equal(getattr(self, name), getattr(other, name), equal_nan=True) for name in _ARRAYS)
        return self.scale == other.scale and all(same)

    def __hash__(self) -> int:
        return hash((self.kind, self.scale, self.rotation.tobytes(), self.offset.tobytes()))

    def __repr__(self) -> str:
        turned = ", ".join(f"{angle:.4g}" for angle in self.angles)
        moved = ", ".join(f"{part:.4g}" for part in self.offset)
        return f"Rigid(rotations=({turned}) degrees, offset=({moved}), scale={self.scale:.6g})"
