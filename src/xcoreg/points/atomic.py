"""Files that appear whole or not at all."""

from __future__ import annotations

import shutil
import tempfile
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from xcoreg.errors import OptionError

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["replacing"]


@contextmanager
def replacing(path: str | Path) -> Iterator[Path]:
    """Write beside a path, then put what was written in its place: all of it or nothing.

    Parameters
    ----------
    path : str or Path
        The goal. Sidecar files written beside the temporary file move along.

    Yields
    ------
    Path
        A file of the same name in a temporary folder beside the goal.

    Raises
    ------
    OptionError
        When nothing can be written there.

    Examples
    --------
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     with replacing(Path(folder, "a.txt")) as temporary:
    ...         _ = temporary.write_text("done")
    ...     [file.name for file in Path(folder).iterdir()]
    ['a.txt']
    """
    goal = Path(path)
    try:
        folder = Path(tempfile.mkdtemp(prefix=f".{goal.name}-", dir=goal.parent))
    except OSError as error:
        raise OptionError(f"cannot write {goal}: {error.strerror} (folder {goal.parent})") from error
    try:
        yield folder / goal.name
        # The goal itself comes last: where it is new, its sidecars are already there.
        for file in sorted(folder.iterdir(), key=lambda file: file.name == goal.name):
            file.replace(goal.parent / file.name)
    except OSError as error:
        raise OptionError(f"cannot write {goal}: {error.strerror or error}") from error
    finally:
        shutil.rmtree(folder, ignore_errors=True)
