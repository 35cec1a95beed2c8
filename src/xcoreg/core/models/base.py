"""What every displacement model offers, and what those fitted to tie points have in common."""

from __future__ import annotations

from dataclasses import MISSING, dataclass, fields
from typing import Any, ClassVar, Protocol, Self, TypeAlias

import numpy as np
from numpy.typing import ArrayLike, NDArray

from xcoreg.core.plain import decode_column, encode_column

Floats: TypeAlias = "NDArray[np.float64]"
Pairs: TypeAlias = "tuple[tuple[float, ...], ...]"

__all__ = ["Degenerate", "Fitted", "Floats", "Level", "Model", "Pairs", "nested"]


class Degenerate(ValueError):
    """Tie points that cannot carry a model.

    Parameters
    ----------
    message : str
        What was found.
    needed : int
        Tie points, at different places, that the model needs.

    Examples
    --------
    >>> Degenerate("3 tie points", needed=4).needed
    4
    """

    def __init__(self, message: str, needed: int) -> None:
        super().__init__(message)
        self.needed = needed

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), (self.args[0], self.needed)


class Model(Protocol):
    """What every displacement model offers; `kind` names the way it moves places."""

    @property
    def kind(self) -> str:
        """One of the kinds of horizontal corrections."""
        ...

    @property
    def dz_constant(self) -> float | None:
        """The one vertical correction for every place, None where it varies."""
        ...

    @property
    def scatter(self) -> Pairs:
        """Covariance (2 x 2) of what tie points show beyond the model and their own covariances."""
        ...

    def predict(self, x: ArrayLike, y: ArrayLike) -> tuple[Floats, Floats]:
        """Correction at map positions."""
        ...

    def predict_cov(self, x: ArrayLike, y: ArrayLike) -> Floats:
        """Covariance of the correction at map positions."""
        ...

    def predict_dz(self, x: ArrayLike, y: ArrayLike) -> Floats:
        """Vertical correction at map positions, in units of the values."""
        ...

    def extrapolates(self, x: ArrayLike, y: ArrayLike) -> NDArray[np.bool_]:
        """Tell where the model has left its tie points behind."""
        ...

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON types, with `kind`."""
        ...


def nested(matrix: ArrayLike) -> Pairs:
    """Turn a small matrix into tuples of floats.

    Examples
    --------
    >>> nested(np.eye(2))
    ((1.0, 0.0), (0.0, 1.0))
    """
    return tuple(tuple(float(value) for value in row) for row in np.asarray(matrix, np.float64).tolist())


class Level:
    """A model without a vertical part.

    Examples
    --------
    >>> Level().predict_dz([0.0, np.nan], 1.0)
    array([ 0., nan])
    """

    dz_constant: ClassVar[float | None] = 0.0

    def predict_dz(self, x: ArrayLike, y: ArrayLike) -> Floats:
        """Vertical correction at map positions: none.

        Parameters
        ----------
        x, y : float or array
            Positions; shapes are broadcast.

        Returns
        -------
        float64 array
            0; NaN where a position is NaN.
        """
        return np.where(np.isnan(x) | np.isnan(y), np.nan, 0.0)


@dataclass(frozen=True, eq=False, repr=False)
class Fitted(Level):
    """A model fitted to tie points: an immutable record of numbers and arrays.

    Parameters
    ----------
    n : int
        Tie points.
    scatter : nested tuple, 2 x 2
        Covariance of what they show beyond the model and their own covariances, CRS units squared.
    spacing : float
        Typical distance between them, CRS units.
    hull : (sides, 3) float64
        Half-planes `(a, b, c)` with unit normals, ``a x + b y + c <= 0`` inside of all tie points.
    """

    kind: ClassVar[str] = ""
    arrays: ClassVar[dict[str, type]] = {"hull": np.float64}

    n: int
    scatter: Pairs
    spacing: float
    hull: Floats

    def __post_init__(self) -> None:
        object.__setattr__(self, "scatter", nested(self.scatter))
        for name, dtype in self.arrays.items():
            array: NDArray[Any] = np.array(getattr(self, name), dtype, order="C")
            array.flags.writeable = False
            object.__setattr__(self, name, array)

    def extrapolates(self, x: ArrayLike, y: ArrayLike) -> NDArray[np.bool_]:
        """Tell where the model has left its tie points behind.

        Parameters
        ----------
        x, y : float or array
            Positions; shapes are broadcast.

        Returns
        -------
        bool array
            True farther outside of the convex hull of the tie points than they lie apart, and where a position is NaN.
        """
        x, y = np.broadcast_arrays(np.asarray(x, np.float64), np.asarray(y, np.float64))
        inside = np.ones(x.shape, bool)
        for a, b, c in self.hull:
            inside &= a * x + b * y + c <= self.spacing
        return ~inside

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON types, with `kind`; no digit is lost."""
        return {"kind": self.kind, **{one.name: encode_column(getattr(self, one.name)) for one in fields(self)}}

    @classmethod
    def from_dict(cls, data: dict[str, Any]) -> Self:
        """Undo :meth:`to_dict`."""
        values: dict[str, Any] = {}
        for one in fields(cls):
            if one.name not in data and one.default is not MISSING:
                continue  # a file of an older version
            array = decode_column(data[one.name])
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
        """Choose what `repr` shows."""
        spread = np.sqrt(np.diag(np.array(self.scatter)))
        return {"n": self.n, "scatter": f"({spread[0]:.3g}, {spread[-1]:.3g})", "spacing": f"{self.spacing:.4g}"}
