"""What is estimated between two elevation models: a shift, an offset, a ramp, or all of them together."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

__all__ = ["NAMES", "Terms", "parse_terms"]

#: Matchers of elevation, with what may stand behind a colon.
NAMES: dict[str, tuple[str, ...]] = {
    "nuth_kaab": ("robust", "classic"),
    "vertical": ("median", "mean", "weighted"),
    "deramp": ("1", "2"),
}


@dataclass(frozen=True)
class Terms:
    """What is estimated.

    Parameters
    ----------
    shift : bool
        A horizontal shift (Nuth & Kääb).
    classic : bool
        By the binned solution instead of robust least squares.
    vertical : str
        How the offset is taken, once the shift is known: "median", "mean" or "weighted" (robust least squares, as
        always with a ramp).
    ramp : int
        Order of the polynomial tilt, 0 for none.

    Examples
    --------
    >>> parse_terms(["nuth_kaab", "deramp:2"])
    Terms(shift=True, classic=False, vertical='weighted', ramp=2)
    """

    shift: bool = False
    classic: bool = False
    vertical: str = "weighted"
    ramp: int = 0

    @property
    def powers(self) -> list[tuple[int, int]]:
        """Powers of (u, v) of the vertical part, by rising degree.

        Examples
        --------
        >>> Terms(ramp=1).powers
        [(0, 0), (1, 0), (0, 1)]
        """
        return [(degree - q, q) for degree in range(self.ramp + 1) for q in range(degree + 1)]


def parse_terms(matcher: Any) -> Terms | None:
    """Read the name of an elevation matcher, or a chain of names.

    Parameters
    ----------
    matcher : str or sequence of str
        "nuth_kaab" (or "nuth_kaab:classic"), "vertical" (":median", ":mean", ":weighted"), "deramp" (":1", ":2"). What
        a chain names is estimated together: a tilt left aside would pass for a shift where slopes face one way.

    Returns
    -------
    Terms or None
        None when it is no matcher of elevation.

    Raises
    ------
    ValueError
        For an unknown link of a chain, or a variant that there is not.

    Examples
    --------
    >>> parse_terms("vertical")
    Terms(shift=False, classic=False, vertical='median', ramp=0)
    >>> parse_terms("phase") is None
    True
    """
    chain = [matcher] if isinstance(matcher, str) else matcher
    if not isinstance(chain, Sequence) or not chain or not all(isinstance(link, str) for link in chain):
        return None
    if isinstance(matcher, str) and matcher.partition(":")[0] not in NAMES:
        return None
    chosen: dict[str, str] = {}
    for link in chain:
        name, _, variant = link.partition(":")
        if name not in NAMES:
            raise ValueError(f"{link!r} cannot be part of a chain: choose from {', '.join(NAMES)}")
        if variant and variant not in NAMES[name]:
            raise ValueError(f"{name} has no variant {variant!r}: choose from {', '.join(NAMES[name])}")
        chosen[name] = variant or NAMES[name][0]
    return Terms(
        shift="nuth_kaab" in chosen,
        classic=chosen.get("nuth_kaab") == "classic",
        vertical="weighted" if "deramp" in chosen else chosen.get("vertical", "weighted"),
        ramp=int(chosen.get("deramp", 0)),
    )
