"""Reading a result back, and the versions it depends on."""

from __future__ import annotations

import json
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from xcoreg.errors import OptionError
from xcoreg.result.fit import FORMAT, SCHEMA, Coregistration

__all__ = ["current_versions", "load_fit"]


def current_versions() -> dict[str, str]:
    """Versions of the programs a result depends on.

    Examples
    --------
    >>> sorted(current_versions())
    ['numpy', 'rasterio', 'scipy', 'xcoreg']
    """
    found = {}
    for name in ("xcoreg", "numpy", "scipy", "rasterio"):
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            found[name] = "unknown"
    return found


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
    source = Path(path)
    try:
        data = json.loads(source.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise OptionError(f"there is no file {source}: a fit is written by fit.save(path)") from error
    except OSError as error:
        raise OptionError(f"cannot read {source}: {error.strerror}") from error
    except ValueError as error:
        raise OptionError(f"{source} is no fit of xcoreg: it is not JSON ({error})") from error
    if not isinstance(data, dict) or data.get("format") != FORMAT or not isinstance(data.get("schema"), int):
        raise OptionError(f"{source} is no fit of xcoreg: it is JSON without the mark {FORMAT!r}")
    if data["schema"] > SCHEMA:
        found = f"schema {data['schema']}, this one reads up to {SCHEMA}"
        raise OptionError(f"{source} was written by a newer xcoreg ({found}): pip install --upgrade xcoreg")
    try:
        return Coregistration.from_dict(data)
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise OptionError(f"{source} is a damaged fit: {type(error).__name__} {error}; estimate it again") from error
