"""Matching a great many windows: in groups that share one reading, as independent tasks, with a progress bar."""

from __future__ import annotations

from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from xcoreg import lazy
from xcoreg.engine.trials import Trials, match_windows
from xcoreg.plan.layout import tiles

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from numpy.typing import NDArray

    from xcoreg.engine.scene import Scene

    Floats = NDArray[np.floating]

__all__ = ["Search", "match_many", "progress_bar"]

# Pixels of the windows of one group, and windows at most: what a task holds in memory.
_GROUP_PIXELS, _GROUP = 3 << 19, 256
# Pixels of windows that are cut and matched together: arrays of this size are used again, larger ones fetched anew.
_PART_PIXELS = 1 << 19


@dataclass(frozen=True, eq=False)
class Search:
    """How windows are looked for.

    Attributes
    ----------
    size : int
        Side of the windows, px of the matching lattice.
    match : callable
        The matcher.
    scout : callable, optional
        A cheap first look, see :func:`xcoreg.engine.trials.match_windows`.
    """

    size: int
    match: Callable[..., Any]
    scout: Callable[..., Floats] | None = None


@dataclass(frozen=True, eq=False)
class _Job:
    scene: Scene
    search: Search


def match_many(
    scene: Scene, places: Floats, guess: Floats, search: Search, done: Callable[[int], None] | None = None
) -> Trials:
    """Match windows at many places.

    Parameters
    ----------
    scene : Scene
    places : (n, 2) float
        Centres, CRS units of the target.
    guess : (n, 2) float
        Corrections to begin with, CRS units of the target.
    search : Search
    done : callable (number), optional
        Told how many windows have been matched, as they are.

    Returns
    -------
    Trials
        In the order of the places. They do not depend on the groups, the scheduler or the number of workers.
    """
    if not len(places):
        return Trials(places[:, 0], places[:, 1], search.size, 0)
    most = int(np.clip(_GROUP_PIXELS // search.size**2, 1, _GROUP))
    groups = tiles(places, scene.linear, search.size, most)
    items = [(places[group], guess[group]) for group in groups]
    told = None if done is None else _counting(done, len(places) / len(groups))
    # What several groups need of an image that is computed is computed once.
    ahead = [scene.ahead(*item, search.size) for item in items]
    return Trials.joined(lazy.run_tasks(_match_group, _Job(scene, search), items, told, ahead), groups)


def _match_group(job: _Job, item: tuple[Floats, Floats]) -> Trials:
    places, guess = item
    search = job.search
    near = job.scene.hold(places, guess, search.size)
    step = max(1, _PART_PIXELS // search.size**2)
    parts = [np.arange(start, min(start + step, len(places))) for start in range(0, len(places), step)]
    found = [
        match_windows(near, places[part], search.size, guess[part], search.match, search.scout, as_came=True)
        for part in parts
    ]
    return Trials.joined(found, parts)


def _counting(done: Callable[[int], None], each: float) -> Callable[[int], None]:
    """Turn ended groups into ended windows, whole numbers that add up."""
    ended = [0]

    def told(groups: int) -> None:
        before, ended[0] = ended[0], ended[0] + groups
        done(round(ended[0] * each) - round(before * each))

    return told


@contextmanager
def progress_bar(total: int, label: str, shown: bool) -> Iterator[Callable[[int], None] | None]:
    """Show a bar with rate and remaining time on stderr while something lasts, unless stderr is no terminal.

    Parameters
    ----------
    total : int
        Windows to match.
    label : str
    shown : bool
        Whether a bar is wanted.

    Yields
    ------
    callable (number) or None
        To be told of windows that are done.
    """
    if not shown:
        yield None
        return
    from tqdm import tqdm

    with tqdm(total=total, desc=label, unit="window", leave=False, disable=None) as bar:
        yield bar.update
