"""Applying a stack: cubes onto one grid with one interpolation for each date, lists by moving transforms."""

from __future__ import annotations

from collections import abc
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import numpy as np
import xarray as xr
from xarray import DataArray, Dataset

from xcoreg import lazy
from xcoreg.core import Array
from xcoreg.errors import CoregWarning, MatchError, NoOverlap, OptionError, warn_user
from xcoreg.io.series import copies_of, dates_of, series_dim
from xcoreg.raster.bands import spatial_bands, spatial_dims
from xcoreg.raster.file_mask import MASK
from xcoreg.raster.grid import grid_of, located
from xcoreg.results.coregistration import version_of
from xcoreg.results.details import corrections_of
from xcoreg.results.stack_adjust import times_of
from xcoreg.warp.apply import apply, describe_band, field_warnings, output_frame
from xcoreg.warp.areas import resampler_of
from xcoreg.warp.mapping import Box, Mapping, compose
from xcoreg.warp.metadata import with_file_tags, wrap_on_grid
from xcoreg.warp.plan import ApplyOptions, BandPlan, Displacement, WarpPlan, plan_image, plan_layers
from xcoreg.warp.resample import Resampler, chunks_of, resample

if TYPE_CHECKING:
    from xcoreg.io.series import Date
    from xcoreg.results.coregistration import Coregistration
    from xcoreg.results.stack import StackFit


def apply_stack(images: Any, stack: StackFit, **options: Any) -> Any:
    """Correct the dates of a stack.

    Parameters
    ----------
    images : DataArray or Dataset, or list or dictionary of images or files
        The dates that were matched, some of them, or other bands or pixel sizes of the same dates: recognised by their
        names, else by their times; without times, a list of as many images as there are dates by its order.
    stack : StackFit
        What `match_stack` or `match_stack_local` found.
    **options
        As for :func:`xcoreg.apply`. A cube is interpolated onto its own grid, or `like` another one, each date once; of
        the images of a list the transforms are moved, unless an output grid is asked for.

    Returns
    -------
    DataArray or Dataset, or list of these
        As the images, lazy if they are; without the dates that are not placed.

    Raises
    ------
    MatchError
        When no date of the images is placed.
    OptionError
        When the images are not dates of the stack.

    Warns
    -----
    CoregWarning
        Names dates that are left out because they are not placed.

    Examples
    --------
    >>> from xcoreg import match_stack
    >>> from xcoreg.simulate import cube
    >>> made = cube(4, (160, 160), clouds=0, seed=2).cube
    >>> stack = match_stack(made)
    >>> apply_stack(made, stack).dims
    ('time', 'y', 'x')
    >>> again = match_stack(apply_stack(made, stack))
    >>> bool(abs(again.shifts_px).max() < 0.05)
    True
    """
    checked = ApplyOptions.checked(dict(options))
    single = isinstance(images, DataArray | Dataset)
    images = located(images, "the cube") if single else images
    dim = series_dim(images) if single else None
    dates = dates_of(images if dim is not None or not single else [images])
    positions = _positions(dates, stack, single and dim is None)
    placed = _placed(dates, positions, stack)
    chosen = [positions[at] for at in placed]
    if not single:
        parts = [apply(dates[at].image, stack.fit(positions[at]), **options) for at in placed]
        if not isinstance(images, abc.Mapping):
            return parts
        names = list(images)
        return {names[at]: part for at, part in zip(placed, parts, strict=True)}
    if not checked.is_regrid:
        checked = replace(checked, like=grid_of(images, "the cube"))
        options["like"] = checked.like
    if stack.id in corrections_of(images) and not checked.force:
        warn_user("the cube carries this correction already: it would be corrected twice", CoregWarning)
    if dim is None:
        return apply(images, stack.fit(positions[0]), **options)
    cube = images if len(placed) == images.sizes[dim] else images.isel({dim: placed})
    if _has_rules_of_its_own(cube, stack):
        made = [apply(cube.isel({dim: at}), stack.fit(one), **options) for at, one in enumerate(chosen)]
        return _joined(cube, dim, made)
    return _on_one_grid(cube, dim, chosen, stack, checked)


def fit_of(image: Any, stack: StackFit) -> Coregistration:
    """Correction of one image or file, which is a date of the stack by its name or time."""
    return stack.fit(_positions(dates_of([image]), stack, True)[0])


def _positions(dates: list[Date], stack: StackFit, alone: bool) -> list[int]:
    """Position in the stack of every date: by name, else by time, else by order."""
    names = {one: at for at, one in enumerate(stack.names)}
    times = times_of(tuple(one for one in stack.dates if one.role == "date"))
    out: list[int | None] = []
    for one in dates:
        same = np.flatnonzero(times == one.time)  # never for an unknown time
        out.append(names.get(one.name, int(same[0]) if len(same) == 1 else None))
    unknown = [one.name for one, at in zip(dates, out, strict=True) if at is None]
    undated = np.isnat(times).any() or any(np.isnat(one.time) for one in dates)
    if unknown and undated and not alone and len(dates) == len(names) == len(unknown):
        return list(range(len(dates)))
    here, there = copies_of(one.name for one in dates), copies_of(names)
    part = [name for name in here if here[name] != there[name] and max(here[name], there[name]) > 1]
    if (any(one.numbered for one in dates) and len(dates) != len(names)) or (part and not unknown):
        raise OptionError(
            f"nothing but the order says which of the {len(names)} dates of the stack these {len(dates)} are: give "
            "all of them in that order, or times or names before they are matched, da.assign_coords(time=...)"
        )
    if unknown:
        raise OptionError(
            f"the stack has no date {unknown[0]!r} (its dates: {', '.join(stack.names[:3])}, ...): give images of the "
            "dates that were matched, or add this one with extend_stack"
        )
    return [at for at in out if at is not None]


def _placed(dates: list[Date], positions: list[int], stack: StackFit) -> list[int]:
    """Dates that can be corrected; the others are named."""
    refused = [one for one in positions if not stack.dates[one].status.ok]
    if refused:
        reasons = "; ".join(f"{stack.dates[at].name}: {stack.dates[at].reason}" for at in refused[:5])
        if len(refused) == len(dates):
            raise MatchError(f"no date can be corrected: {reasons}")
        more = f"; and {len(refused) - 5} more" if len(refused) > 5 else ""
        warn_user(f"{len(refused)} of {len(dates)} dates are left out, they are not placed: {reasons}{more}")
    return [at for at, one in enumerate(positions) if stack.dates[one].status.ok]


def _has_rules_of_its_own(cube: Any, stack: StackFit) -> bool:
    """Whether dates have to be corrected one by one: masks beside the pixels, heights."""
    return MASK in cube.coords or any(one is not None and one.has_dz for one in stack.fields)


def _joined(cube: Any, dim: Any, made: list[Any]) -> Any:
    """Put corrected dates together as the cube was."""
    axis = cube[dim] if dim in cube.coords else dim
    how: dict[str, Any] = {"coords": "minimal", "compat": "override", "join": "override", "combine_attrs": "override"}
    if isinstance(cube, Dataset):
        how["data_vars"] = "minimal"
        over = [name for name, one in cube.data_vars.items() if dim in one.dims]
        parts = [one[[name for name in over if name in one.data_vars]] for one in made]
        return made[0].drop_vars(over).assign(xr.concat(parts, axis, **how).data_vars)
    out = xr.concat(made, axis, **how)
    lead = [one for one in cube.dims if one == dim or one in made[0].dims[:-2]]
    return out.transpose(*lead, *made[0].dims[-2:])


@dataclass(frozen=True)
class StackResampler:
    """Interpolates blocks of some dates, each by a resampler of its own: axis of the dates."""

    dates: tuple[Resampler, ...]
    axis: int

    def box(self, rows: slice, cols: slice) -> Box:
        """Source pixels that a block of the output needs of any of the dates."""
        boxes = np.array([one.box(rows, cols) for one in self.dates])
        boxes = boxes[(boxes[:, 1] > boxes[:, 0]) & (boxes[:, 3] > boxes[:, 2])]
        if not len(boxes):
            return (0, 0, 0, 0)
        (row0, _, col0, _), (_, row1, _, col1) = boxes.min(0).tolist(), boxes.max(0).tolist()
        return row0, row1, col0, col1

    def __call__(self, source: Array, box: Box, rows: slice, cols: slice) -> Array:
        """Make a block of the output: source (..., rows, cols), dates along `axis`."""
        every = (slice(None),) * self.axis
        parts = [one(source[(*every, slice(at, at + 1))], box, rows, cols) for at, one in enumerate(self.dates)]
        return np.concatenate(parts, axis=self.axis) if len(parts) > 1 else parts[0]


def _on_one_grid(cube: Any, dim: Any, positions: list[int], stack: StackFit, options: ApplyOptions) -> Any:
    """Interpolate all dates of a cube, each once; what is decided for bands is decided once for all dates."""
    dims, cube = spatial_dims(cube, "the cube"), with_file_tags(cube)
    source = grid_of(cube, "the cube", dims)
    fits = [stack.fit(at) for at in positions]
    moves = [Displacement.of(fit.model, fit.crs_wkt or source.crs, source) for fit in fits]
    frame = output_frame(cube, dims, source, moves[0], options, stack.grid)
    mappings = [compose(frame.grid, source, move) for move in moves]
    if None in mappings:
        name = stack.names[positions[mappings.index(None)]]
        raise NoOverlap(f"no pixel of the output falls on the corrected image of {name}: choose another grid, like=")
    known = [one for one in mappings if one is not None]
    for text, category in {text: category for one in known for text, category in field_warnings(one)}.items():
        warn_user(text, category)
    # Bands are planned for a date that leaves pixels without data, where there is one.
    first = next((at for at, one in enumerate(known) if not one.is_covered), 0)
    plan = plan_image(known[first], frame, fits[first], options)
    record = _record(stack, fits[0].model.kind if fits[0].model is not None else "translation", len(fits))
    bands = {name: one for name, one in spatial_bands(cube, dims).items() if dim in one.dims}
    plans = {name: plan_layers(band.isel({dim: 0}), plan) for name, band in bands.items()}
    if any(len(one) > 1 or one[0][1].needs_mask or one[0][1].correction is not None for one in plans.values()):
        given: Any = {"like": frame.grid, "resampling": options.resampling, "nodata": options.nodata}
        return _joined(cube, dim, [apply(cube.isel({dim: at}), fit, **given) for at, fit in enumerate(fits)])
    pixels = {name: _resample_dates(band, dim, known, (plan, plans[name][0][1]), stack) for name, band in bands.items()}
    kernels = ", ".join(dict.fromkeys(one[0][1].kernel for one in plans.values()))
    others = [name for name in spatial_bands(cube, dims) if name not in bands] if isinstance(cube, Dataset) else []
    return wrap_on_grid(
        cube.drop_vars(others) if others else cube, dims, frame, pixels, record | {"did": f"resampled ({kernels})"}
    )


def _resample_dates(
    band: DataArray, dim: Any, mappings: list[Mapping], plans: tuple[WarpPlan, BandPlan], stack: StackFit
) -> DataArray:
    """Interpolate one band (..., y, x) of all dates."""
    (plan, decided), axis = plans, band.dims.index(dim)
    shape = plan.frame.grid.shape.yx
    each = [resampler_of(one, shape, decided) for one in mappings]
    if not lazy.is_lazy(band):
        parts = [resample(band.isel({dim: [at]}), one) for at, one in enumerate(each)]
        return describe_band(band, np.concatenate(parts, axis=axis), plan.frame, decided)
    data, starts = band.data, np.cumsum([0, *band.data.chunks[axis]])
    several = [StackResampler(tuple(each[a:b]), axis) for a, b in pairwise(starts)]
    coarser = [max(one.scale[side] for one in mappings) for side in (0, 1)]
    chunks = tuple(chunks_of(*part) for part in zip(shape, map(max, data.chunks[-2:]), coarser, strict=True))
    token = lazy.token(
        stack.id, tuple(stack.names), [one.move.constant for one in mappings], str(decided), str(plan.frame.grid)
    )
    functions = [(one, one.box) for one in several]
    made = lazy.map_stack_blocks(functions, axis, data, (chunks[0], chunks[1]), each[0].dtype, token)
    return describe_band(band, made, plan.frame, decided)


def _record(stack: StackFit, model: str, n: int) -> dict[str, Any]:
    """Entry in the history of a cube."""
    by = f"xcoreg {version_of('xcoreg')}"
    return {"by": by, "model": model, "fit": stack.id, "target": f"stack of {n} dates", "date": stack.date}
