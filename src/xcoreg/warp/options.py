"""What a user may ask of `apply`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, TypedDict

from xcoreg.core.kernels import KERNELS
from xcoreg.errors import OptionError

__all__ = ["ApplyOptions", "How"]


class ApplyOptions(TypedDict, total=False):
    """Keyword options of :func:`xcoreg.apply`, which tells what they mean."""

    align_grid: bool
    like: Any
    resolution: float | tuple[float, float] | None
    resampling: str
    nodata: float | None
    ref_grid: Any
    vertical: bool | None


@dataclass(frozen=True, eq=False)
class How:
    """The options of :func:`xcoreg.apply`, checked.

    Raises
    ------
    OptionError
        For a kernel that is unknown, and for two output grids.

    Examples
    --------
    >>> How(resolution=20).is_regrid
    True
    """

    align_grid: bool = False
    like: Any = None
    resolution: float | tuple[float, float] | None = None
    resampling: str = "cubic"
    nodata: float | None = None
    ref_grid: Any = None
    vertical: bool | None = None

    def __post_init__(self) -> None:
        if self.resampling not in KERNELS:
            raise OptionError(f"resampling={self.resampling!r} is unknown: choose one of {', '.join(KERNELS)}")
        if self.is_aligned and self.like is not None:
            raise OptionError(
                "like= and align_grid=, resolution=, ref_grid= each choose the output grid: give one of them"
            )

    @property
    def is_aligned(self) -> bool:
        """Whether the lattice of the reference is asked for."""
        return self.align_grid or self.resolution is not None or self.ref_grid is not None

    @property
    def is_regrid(self) -> bool:
        """Whether an output grid is asked for at all."""
        return self.is_aligned or self.like is not None
