"""Reading files of results: what they say they are, by whom, and whether they are whole."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

from pyproj.exceptions import CRSError

from xcoreg.errors import OptionError
from xcoreg.files import as_path, read_json
from xcoreg.results.coregistration import FORMAT, SCHEMA, Coregistration
from xcoreg.results.details import check_grids


def load_fit(path: str | Path) -> Coregistration:
    """Read a result written by :meth:`Coregistration.save`.

    Parameters
    ----------
    path : str or Path
        The JSON file.

    Returns
    -------
    Coregistration
        Equal to the one that was saved, to the last digit.

    Raises
    ------
    OptionError
        When there is no such file, it holds something else, is damaged, or was written by a newer xcoreg.

    Examples
    --------
    >>> import tempfile, xcoreg
    >>> scene = xcoreg.simulate.pair((300, 300), shift=(1.25, -0.5), seed=1)
    >>> fit = scene.tgt.coreg.match(scene.ref)
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     fit.save(f"{folder}/fit.json")
    ...     load_fit(f"{folder}/fit.json") == fit
    True
    """
    return read_result(path, FORMAT, SCHEMA, _checked_fit)


def _check_model(fit: Coregistration) -> None:
    """Evaluate a model once, so that one whose parts do not fit together fails when it is loaded."""
    x, y = fit.points.x[:2], fit.points.y[:2]
    if fit.model is None or not len(x):
        return
    parts = (
        *fit.model.predict(x, y),
        fit.model.predict_cov(x, y),
        fit.model.predict_dz(x, y),
        fit.model.extrapolates(x, y),
    )
    if [len(one) for one in parts] != [len(x)] * 5:
        raise ValueError("the model is incomplete")


def _checked_fit(data: dict[str, Any]) -> Coregistration:
    fit = Coregistration.from_dict(data)
    check_grids(fit.grid, fit.details.ref_grid)
    _check_model(fit)
    fit.summary()  # what cannot be reported now would break later
    return fit


_Result = TypeVar("_Result")
# What files of results hold, by their mark; what reads them; how they are made.
_MARKS = {
    FORMAT: ("fit", "xcoreg.load_fit", "estimate it again"),
    "xcoreg stack": ("stack of dates", "xcoreg.load_stack", "match it again"),
}


def mark_of(path: str | Path) -> str | None:
    """Read what a file of results says it is; None where it says nothing."""
    try:
        data = read_json(Path(path))
    except (OSError, ValueError):
        return None
    return data.get("format") if isinstance(data, dict) else None


def read_result(path: str | Path, mark: str, schema: int, build: Callable[[dict[str, Any]], _Result]) -> _Result:
    """Read a file of results that has a mark, up to a schema, and build what it holds; OptionError where it cannot."""
    source, (what, _, again) = as_path(path), _MARKS[mark]
    try:
        data = read_json(source)
    except FileNotFoundError as error:
        raise OptionError(f"there is no file {source}: a {what} is written by {what.split()[0]}.save(path)") from error
    except OSError as error:
        raise OptionError(f"cannot read {source}: {error.strerror}") from error
    except ValueError as error:
        raise OptionError(f"{source} is not an xcoreg {what} file: it is not JSON ({error})") from error
    found = data.get("format") if isinstance(data, dict) else None
    if isinstance(found, str) and found != mark and found in _MARKS:
        raise OptionError(f"{source} holds a {_MARKS[found][0]}: read it with {_MARKS[found][1]}")
    if found != mark or not isinstance(data.get("schema"), int):
        raise OptionError(f"{source} is not an xcoreg {what} file: it is JSON without the mark {mark!r}")
    if data["schema"] > schema:
        found = f"schema {data['schema']}, this one reads up to {schema}"
        raise OptionError(f"{source} was written by a newer xcoreg ({found}): pip install --upgrade xcoreg")
    try:
        json.dumps(data, allow_nan=False, ensure_ascii=False).encode()  # infinite numbers and half characters
        return build(data)
    except (LookupError, TypeError, ValueError, AttributeError, ArithmeticError, RecursionError, CRSError) as error:
        raise OptionError(f"{source} is a damaged {what}: {type(error).__name__} {error}; {again}") from error
