"""Displacement models: their common interface, the base of those fitted to tie points, and the translation."""

from __future__ import annotations

from dataclasses import MISSING, dataclass, field, fields, replace
from typing import Any, ClassVar, Protocol, Self, TypeAlias

import numpy as np
from numpy.typing import ArrayLike, NDArray

from xcoreg.core import Bools, Floats
from xcoreg.core.matches import decode_column, encode_column
from xcoreg.core.robust import combine

Pairs: TypeAlias = "tuple[tuple[float, ...], ...]"


class Degenerate(ValueError):
    """Tie points that do not determine a model: too few, on a line, clustered; it needs so many positions."""

    def __init__(self, message: str, needed: int) -> None:
        super().__init__(message)
        self.needed = needed

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), (self.args[0], self.needed)


class Model(Protocol):
    """Interface of every displacement model."""

    @property
    def kind(self) -> str:
        """Name of the kind, see :data:`xcoreg.core.models.KINDS`."""

    @property
    def dz_constant(self) -> float | None:
        """Vertical correction if it is the same everywhere, else None."""

    @property
    def scatter(self) -> Pairs:
        """Covariance (2 x 2) of tie points about the model beyond their own covariances, CRS units squared."""

    def predict(self, x: ArrayLike, y: ArrayLike) -> tuple[Floats, Floats]:
        """Correction (dx, dy) target -> reference at map positions, CRS units; NaN where one is not finite."""

    def predict_cov(self, x: ArrayLike, y: ArrayLike) -> Floats:
        """Covariance (..., 2, 2) of the correction at map positions, axes (x, y), CRS units squared."""

    def predict_dz(self, x: ArrayLike, y: ArrayLike) -> Floats:
        """Vertical correction at map positions, in units of the values."""

    def extrapolates(self, x: ArrayLike, y: ArrayLike) -> Bools:
        """Positions outside the tie points by more than their typical spacing."""

    def to_dict(self) -> dict[str, Any]:
        """Convert to JSON types, with `kind`."""


def to_tuples(matrix: ArrayLike) -> Pairs:
    """Convert a matrix to tuples of floats."""
    return tuple(tuple(float(value) for value in row) for row in np.asarray(matrix, np.float64).tolist())


def broadcast(x: ArrayLike, y: ArrayLike) -> tuple[Floats, Floats]:
    """Positions as float64 arrays of one shape."""
    both = np.broadcast_arrays(np.asarray(x, np.float64), np.asarray(y, np.float64))
    return both[0], both[1]


_NONE = ((0.0, 0.0), (0.0, 0.0))


class Horizontal:
    """A model without a vertical correction."""

    dz_constant: ClassVar[float | None] = 0.0

    def predict_dz(self, x: ArrayLike, y: ArrayLike) -> Floats:
        """Vertical correction at map positions: zero."""
        return np.where(np.isnan(x) | np.isnan(y), np.nan, 0.0)


@dataclass(frozen=True, eq=False, repr=False)
class FittedModel(Horizontal):
    """A model fitted to tie points: an immutable record of numbers and arrays.

    n : Number of tie points.
    scatter : Covariance of tie points about the model beyond their own covariances, CRS units squared.
    spacing : Typical distance between tie points, CRS units.
    hull : Convex hull as half-planes `(a, b, c)` with unit normals: ``a x + b y + c <= 0`` inside.
    overlap, common : Factor of the covariance for windows that share pixels, and what is added for an error that all
    share, CRS units squared; see :func:`with_shared_errors`.
    """

    kind: ClassVar[str] = ""
    arrays: ClassVar[dict[str, type]] = {"hull": np.float64}

    n: int
    scatter: Pairs
    spacing: float
    hull: Floats
    overlap: float = field(default=1.0, kw_only=True)
    common: Pairs = field(default=_NONE, kw_only=True)

    def __post_init__(self) -> None:
        for name in ("scatter", "common"):
            object.__setattr__(self, name, to_tuples(getattr(self, name)))
        if np.shape(self.common) != (2, 2):
            raise ValueError(f"the common covariance of a model is 2 x 2, not of shape {np.shape(self.common)}")
        for name, dtype in self.arrays.items():
            array: NDArray[Any] = np.array(getattr(self, name), dtype, order="C")
            array.flags.writeable = False
            object.__setattr__(self, name, array)

    def predict_cov(self, x: ArrayLike, y: ArrayLike) -> Floats:
        """Covariance (..., 2, 2) of the correction at map positions."""
        return np.asarray(self.overlap * self._own_cov(x, y) + np.array(self.common))

    def _own_cov(self, x: ArrayLike, y: ArrayLike) -> Floats:
        """Covariance if all tie points had errors of their own."""
        raise NotImplementedError

    def extrapolates(self, x: ArrayLike, y: ArrayLike) -> Bools:
        """Positions outside the tie points by more than their typical spacing."""
        x, y = broadcast(x, y)
        inside = np.ones(x.shape, bool)
        for a, b, c in self.hull:
            inside &= a * x + b * y + c <= self.spacing
        return ~inside

    def to_dict(self) -> dict[str, Any]:
        """Convert to JSON types, with `kind`, without losing a digit."""
        return {"kind": self.kind, **{one.name: encode_column(getattr(self, one.name)) for one in fields(self)}}

    @classmethod
    def from_dict(cls, data: dict[str, Any]) -> Self:
        """Undo :meth:`to_dict`."""
        values: dict[str, Any] = {}
        for one in fields(cls):
            if one.name not in data and one.default is not MISSING:
                continue  # written by an older version
            array = decode_column(data[one.name])
            if (array.ndim and one.type in ("int", "float")) or (
                one.name == "hull" and array.size and array.shape[1:] != (3,)
            ):
                raise ValueError(f"{one.name} of the model has the shape {array.shape}")
            plain = int(array) if isinstance(data[one.name], int) else array.tolist()
            values[one.name] = array if array.ndim else plain
        return cls(**values)

    def __eq__(self, other: object) -> bool:
        if type(other) is not type(self):
            return NotImplemented
        return all(
            np.array_equal(getattr(self, one.name), getattr(other, one.name), equal_nan=True) for one in fields(self)
        )

    def __hash__(self) -> int:
        return hash((self.kind, *(np.asarray(getattr(self, one.name)).tobytes() for one in fields(self))))

    def __repr__(self) -> str:
        inner = ", ".join(f"{name}={value}" for name, value in self._summary().items())
        return f"{type(self).__name__}({inner})"

    def _summary(self) -> dict[str, Any]:
        """Values that `repr` shows."""
        spread = np.sqrt(np.diag(np.array(self.scatter)))
        return {"n": self.n, "scatter": f"({spread[0]:.3g}, {spread[-1]:.3g})", "spacing": f"{self.spacing:.4g}"}


@dataclass(frozen=True)
class FitResult:
    """A fitted model with its cross-validation, in the units of :class:`~xcoreg.core.models.leastsq.FitPoints`.

    residual, check_cov : (n, k), (n, k, k) float64; observed minus predicted without the point; covariance expected.
    parameters : Effective number of parameters per component.
    """

    model: Any
    residual: Floats
    check_cov: Floats
    parameters: float

    @property
    def squared(self) -> Floats:
        """Squared length of each residual, (n,)."""
        return np.asarray((self.residual**2).sum(1))


_UNKNOWN = ((np.nan, np.nan), (np.nan, np.nan))


@dataclass(frozen=True)
class Translation:
    """The same correction everywhere.

    Parameters
    ----------
    dx, dy, dz : float
        Correction target -> reference, in the units of x and y, and of the values.
    cov : nested tuple, 2 x 2 or 3 x 3
        Covariance of `(dx, dy)` or `(dx, dy, dz)`; NaN when unknown. Another shape raises ValueError.
    scatter : nested tuple, 2 x 2
        Covariance of tie points about this correction beyond their own covariances.

    Examples
    --------
    >>> model = Translation(3.5, 15.5, cov=((0.04, 0.0), (0.0, 0.01)))
    >>> model.predict([0.0, 100.0], 0.0)[0], model.predict_dz(0.0, [1.0, np.nan])
    (array([3.5, 3.5]), array([ 0., nan]))
    >>> model.predict_cov([1.0, 2.0], 0.0).shape, model.extrapolates([0.0, 1e9], 0.0)
    ((2, 2, 2), array([False, False]))
    >>> Translation.from_dict(model.to_dict()) == model
    True
    """

    kind: ClassVar[str] = "translation"

    dx: float
    dy: float
    dz: float = 0.0
    cov: tuple[tuple[float, ...], ...] = _UNKNOWN
    scatter: tuple[tuple[float, ...], ...] = field(default=_NONE, repr=False)

    def __post_init__(self) -> None:
        for name in ("dx", "dy", "dz"):
            object.__setattr__(self, name, float(getattr(self, name)))
        cov = np.asarray(self.cov, np.float64)
        if cov.shape not in ((2, 2), (3, 3)):
            raise ValueError(f"the covariance of a translation is 2 x 2 or 3 x 3, not of shape {cov.shape}")
        # An inverse is symmetric but for its last digit, which depends on the library that computes it.
        object.__setattr__(self, "cov", to_tuples((cov + cov.T) / 2))
        object.__setattr__(self, "scatter", to_tuples(self.scatter))

    def predict(self, x: ArrayLike, y: ArrayLike) -> tuple[Floats, Floats]:
        """Correction at map positions; NaN where a position is NaN."""
        missing = np.isnan(x) | np.isnan(y)
        return np.where(missing, np.nan, self.dx), np.where(missing, np.nan, self.dy)

    @property
    def dz_constant(self) -> float:
        """Vertical correction, the same everywhere."""
        return self.dz

    def predict_dz(self, x: ArrayLike, y: ArrayLike) -> Floats:
        """Vertical correction at map positions; NaN where a position is NaN."""
        return np.where(np.isnan(x) | np.isnan(y), np.nan, self.dz)

    def predict_cov(self, x: ArrayLike, y: ArrayLike) -> Floats:
        """Covariance of the correction at map positions."""
        shape = np.broadcast_shapes(np.shape(x), np.shape(y))
        return np.broadcast_to(np.array(self.cov)[:2, :2], (*shape, 2, 2)).copy()

    def extrapolates(self, x: ArrayLike, y: ArrayLike) -> Bools:
        """Nowhere: a translation has no area of validity."""
        return np.zeros(np.broadcast_shapes(np.shape(x), np.shape(y)), bool)

    def to_dict(self) -> dict[str, Any]:
        """Convert to JSON types."""
        values = {name: encode_column(getattr(self, name)) for name in ("dx", "dy", "dz", "cov", "scatter")}
        return {"kind": self.kind, **values}

    @classmethod
    def from_dict(cls, data: dict[str, Any]) -> Translation:
        """Undo :meth:`to_dict`."""
        dx, dy, dz = (float(decode_column(data[name])) for name in ("dx", "dy", "dz"))
        scatter = decode_column(data.get("scatter", _NONE))  # files of version 0.1.0 have none
        return cls(dx, dy, dz, to_tuples(decode_column(data["cov"])), to_tuples(scatter))

    @classmethod
    def fit(cls, x: ArrayLike, y: ArrayLike, dx: ArrayLike, dy: ArrayLike, cov: ArrayLike | None = None) -> Translation:
        """Covariance-weighted mean of the corrections of several windows: dx, dy (n,), cov (n, 2, 2).

        Rows that are not finite are left out; ValueError when all are. Rows without a covariance (NaN, not positive
        definite) get the median of the others; without any, all windows have the same weight and the covariance comes
        from their scatter. Where windows contradict each other by more than their covariances allow, the covariance
        grows (see :func:`xcoreg.core.robust.combine`).

        Examples
        --------
        >>> cov = [[[0.01, 0], [0, 0.01]], [[0.04, 0], [0, 0.01]]]
        >>> model = Translation.fit([0, 1], [0, 1], [1.0, 1.1], [2.0, 2.1], cov)
        >>> round(model.dx, 6), round(model.dy, 6), round(model.cov[0][0], 6)
        (1.02, 2.05, 0.008)
        """
        shape = np.broadcast_shapes(np.shape(x), np.shape(y), np.shape(dx), np.shape(dy))
        moves = np.stack([np.broadcast_to(np.asarray(d, np.float64), shape).ravel() for d in (dx, dy)], axis=-1)
        known = np.isfinite(moves).all(axis=-1)
        if not known.any():
            raise ValueError("no window has a finite shift")
        covs = np.full((known.size, 2, 2), np.nan) if cov is None else np.asarray(cov, np.float64).reshape(-1, 2, 2)
        mean, mean_cov = combine(moves[known], covs[known])
        return cls(float(mean[0]), float(mean[1]), cov=to_tuples(mean_cov))


_ROUNDS = 8  # of the way back; fields change by some hundredths of the way at most, so that these are all digits


@dataclass(frozen=True)
class Relative(Horizontal):
    """Correction of one image onto another: by its own model to the ground that both share, and back by the other's.

    Relative corrections of images do not depend on the one that stays in place: models of two images onto a third one
    lead from the first to the second as their own models do.

    own, datum : Models of the image and of the one that stays, in one CRS, with independent errors.
    """

    kind: ClassVar[str] = "relative"

    own: Model
    datum: Model

    @property
    def scatter(self) -> Pairs:
        """Scatter of tie points about the own model."""
        return self.own.scatter

    def _way(self, x: ArrayLike, y: ArrayLike) -> tuple[Floats, Floats]:
        """Correction at map positions; a fixed number of rounds, so that it depends on no other position."""
        x, y = broadcast(x, y)
        dx, dy = own = self.own.predict(x, y)
        for _ in range(_ROUNDS):
            back = self.datum.predict(x + dx, y + dy)
            dx, dy = own[0] - back[0], own[1] - back[1]
        return dx, dy

    def predict(self, x: ArrayLike, y: ArrayLike) -> tuple[Floats, Floats]:
        """Correction (dx, dy) at map positions, CRS units."""
        return self._way(x, y)

    def predict_cov(self, x: ArrayLike, y: ArrayLike) -> Floats:
        """Covariance (..., 2, 2) of the correction at map positions."""
        x, y = broadcast(x, y)
        dx, dy = self._way(x, y)
        return np.asarray(self.own.predict_cov(x, y) + self.datum.predict_cov(x + dx, y + dy))

    def extrapolates(self, x: ArrayLike, y: ArrayLike) -> Bools:
        """Positions outside the tie points of either model."""
        x, y = broadcast(x, y)
        dx, dy = self._way(x, y)
        return self.own.extrapolates(x, y) | self.datum.extrapolates(x + dx, y + dy)

    def to_dict(self) -> dict[str, Any]:
        """Convert to JSON types."""
        return {"kind": self.kind, "own": self.own.to_dict(), "datum": self.datum.to_dict()}


def relative_to(own: Any, datum: Any) -> Any:
    """Bring the model of an image into the datum in which the image of another model stays in place."""
    if not (isinstance(own, Translation) and isinstance(datum, Translation)):
        return Relative(own, datum)
    cov = np.array(own.cov)[:2, :2] + np.array(datum.cov)[:2, :2]
    return Translation(own.dx - datum.dx, own.dy - datum.dy, cov=to_tuples(cov), scatter=own.scatter)


def with_shared_errors(model: Any, overlap: float, common: Floats) -> Any:
    """Widen the covariance of a model whose tie points share pixels, by a factor, and an error (2, 2), CRS units²."""
    if isinstance(model, FittedModel):
        return replace(model, overlap=overlap, common=to_tuples(common))
    if isinstance(model, Translation):
        cov = np.array(model.cov)
        cov *= overlap
        cov[:2, :2] += common
        return replace(model, cov=to_tuples(cov))
    return model
