"""How each verdict is drawn, the same in every picture."""

from __future__ import annotations

from xcoreg.core.matches import Status

__all__ = ["LOOKS", "ordered"]

#: Marker and colour of each status. Colours go by kind: grey where there was nothing to match, yellow where the texture
#: was to blame, orange where no shift was found, purple and red where one was found and refused.
LOOKS: dict[Status, tuple[str, str]] = {
    Status.OK: ("o", "#0072b2"),
    Status.NO_DATA: ("s", "#b8b8b8"),
    Status.MASKED: ("D", "#8f8f8f"),
    Status.OUTSIDE: ("s", "#dddddd"),
    Status.FLAT: ("^", "#f0e442"),
    Status.UNCONSTRAINED: ("v", "#d8c62a"),
    Status.NO_PEAK: ("X", "#d55e00"),
    Status.AMBIGUOUS: ("P", "#e69f00"),
    Status.TOO_FAR: (">", "#f2a65a"),
    Status.NOT_CONVERGED: ("<", "#a85400"),
    Status.DISAGREES: ("d", "#7b61b5"),
    Status.NOT_IMPROVED: ("h", "#cc79a7"),
    Status.OUTLIER: ("X", "#b3123f"),
}


def ordered(counts: dict[str, int]) -> list[tuple[Status, int]]:
    """List verdicts that occur: the trusted windows first, then the most frequent reasons.

    Examples
    --------
    >>> [(status.name, n) for status, n in ordered({"FLAT": 1, "OK": 3, "NO_PEAK": 7})]
    [('OK', 3), ('NO_PEAK', 7), ('FLAT', 1)]
    """
    rows = [(Status[name], n) for name, n in counts.items()]
    return sorted(rows, key=lambda row: (row[0] != Status.OK, -row[1]))
