"""The scenes of a batch as one network: matched with each other, adjusted together, each then corrected by its part."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

from xcoreg import lazy
from xcoreg.batches.pairs import Pair
from xcoreg.batches.scene import BatchOptions, file_state
from xcoreg.errors import OptionError
from xcoreg.results.coregistration import current_versions
from xcoreg.results.stack import StackFit, load_stack
from xcoreg.stack import match_stack, match_stack_local

STACK = "stack.json"


def adjusted_by(options: BatchOptions, scenes: list[Pair]) -> BatchOptions:
    """Match all scenes with each other, unless that was done before, and name the file of the result."""
    references = {pair.reference for pair in scenes}
    if len(references) != 1 or len(scenes) < 2:
        raise OptionError(
            f"adjust= needs two scenes and one reference for all, not {len(references)} references: give ref="
        )
    path = options.folder / STACK
    mark = _mark(options, scenes)
    if _mark_of(path) != mark:
        measure: Any = match_stack_local if options.verb == "warp" else match_stack
        found: StackFit = measure([pair.target for pair in scenes], references.pop(), **options.matching)
        replace(found, options={**found.options, "batch": mark}).save(path)
    return replace(options, stack=(str(path), mark, tuple(pair.name for pair in scenes)))


def _mark(options: BatchOptions, scenes: list[Pair]) -> str:
    """Hash what the adjustment depends on: all images as they are now, and the options."""
    files = [file_state(path) for pair in scenes for path in (pair.target, pair.reference)]
    return lazy.token(current_versions()["xcoreg"], files, options.verb, sorted(map(str, options.matching.items())))


def _mark_of(path: Path) -> str:
    try:
        return str(load_stack(path).options.get("batch"))
    except OptionError:
        return ""
