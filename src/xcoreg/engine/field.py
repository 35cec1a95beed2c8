"""From tie points to a model of the field, its assessment on withheld points, and the result."""

from __future__ import annotations

import warnings
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np

from xcoreg.core.matches import Status
from xcoreg.core.models import Choice, Degenerate, Translation, assess_model, choose_model
from xcoreg.core.quality import ce90, nmad
from xcoreg.engine.elevation.field import Comparison, choose_lifted
from xcoreg.engine.report import scene_settings, unit_of
from xcoreg.errors import LowSupport, OptionError, TooFewTiePoints
from xcoreg.georef import linear_of, vector_to_pixel
from xcoreg.results.coregistration import Coregistration, Quality, current_versions
from xcoreg.results.shift import Shift

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from xcoreg.engine.scene import Scene
    from xcoreg.plan.options import LocalOptions
    from xcoreg.results.tiepoints import TiePoints

    Floats = NDArray[np.floating]

__all__ = ["build_field"]

# Fewer tie points than this are no field; together they have to be this reliable, percent.
_FEWEST, _TOGETHER = 3, 150.0
# Of windows that should have told something, so many at least must have agreed.
_SHARE = 0.05
_USELESS = (
    "the correction does not bring withheld tie points nearer (RMSE {:.3g} px before, {:.3g} px after): the images fit "
    "already, or too few windows tell"
)


def build_field(scene: Scene, options: LocalOptions, points: TiePoints) -> Coregistration:
    """Fit a model to tie points and put everything into the final form.

    Parameters
    ----------
    scene : Scene
    options : LocalOptions
    points : TiePoints
        Outliers are flagged.

    Returns
    -------
    Coregistration
        Not ok, and without a model, where the tie points are too few to be believed.

    Raises
    ------
    TooFewTiePoints
        When they cannot carry the model that was asked for.
    """
    status = _verdict(points)
    choice, compared = _choice(options, points, scene) if status is Status.OK else (None, None)
    settings = scene_settings(scene, options)
    if choice is not None:
        settings["assessment"] = _assessment(points, choice)
    return Coregistration(
        model=None if choice is None else choice.model,
        points=points,
        quality=_lifted(_quality(points, choice, scene), compared),
        status=status,
        shift=None if choice is None else _mean_shift(points, choice.model, scene),
        crs_wkt=points.crs_wkt,
        transform=tuple(scene.target.grid.affine)[:6],
        shape=scene.target.shape,
        settings=settings,
        versions=current_versions(),
    )


def _verdict(points: TiePoints) -> Status:
    """Tell whether the tie points together are more than chance."""
    ok = points.ok
    n = int(ok.sum())
    told = n + int(np.isin(points.status, (Status.NO_PEAK, Status.OUTLIER, Status.DISAGREES)).sum())
    trust = np.where(np.isfinite(points.reliability), points.reliability, 100.0)
    if n >= _FEWEST and n >= _SHARE * told and float(trust[ok].sum()) >= _TOGETHER:
        return Status.OK
    if n:
        return Status.OUTLIER if int((points.status == Status.OUTLIER).sum()) > n else Status.NO_PEAK
    telling = points.status[~np.isin(points.status, (Status.NO_DATA, Status.MASKED))]
    codes, counts = np.unique(telling if len(telling) else points.status, return_counts=True)
    return Status(int(codes[counts.argmax()])) if len(codes) else Status.OUTSIDE


def _choice(options: LocalOptions, points: TiePoints, scene: Scene) -> tuple[Choice, Comparison | None]:
    ok, terms, compared = points.ok, options.terms, None
    columns = points.x[ok], points.y[ok], points.dx[ok], points.dy[ok], points.cov[ok]
    try:
        if terms is not None:
            choice, compared = choose_lifted(scene, points, options.model, terms)
        else:
            choice = choose_model(*columns) if options.model == "auto" else assess_model(options.model, *columns)
    except Degenerate as error:
        raise TooFewTiePoints(f"{error}; {_counts(points)}: give less spacing, or a simpler model", points) from error
    except ValueError as error:
        raise OptionError(str(error)) from error
    for line in choice.warnings:
        warnings.warn(f"{line}; {_counts(points)}", LowSupport, stacklevel=5)
    return choice, compared


def _counts(points: TiePoints) -> str:
    return "tie points: " + ", ".join(f"{n} {name}" for name, n in points.counts().items())


def _mean_shift(points: TiePoints, model: Any, scene: Scene) -> Shift:
    """Give the one shift that describes the field best."""
    ok = points.ok
    mean = getattr(model, "horizontal", model)
    if mean.kind != "translation":
        mean = Translation.fit(points.x[ok], points.y[ok], points.dx[ok], points.dy[ok], points.cov[ok])
    own = linear_of(scene.target.grid.affine)
    (xx, xy), (yx, yy) = np.asarray(mean.cov, np.float64)[:2, :2].tolist()
    shift = Shift(mean.dx, mean.dy, ((xx, xy), (yx, yy)), own, unit=unit_of(scene))
    if model.dz_constant == 0.0:
        return shift
    height = Translation.fit(
        points.x[ok], points.y[ok], points.dz[ok], 0.0, np.eye(2) * points.cov_z[ok, 2][:, None, None]
    )
    return replace(shift, dz=height.dx, cov_z=(0.0, 0.0, float(height.cov[0][0])))


def _assessment(points: TiePoints, choice: Choice) -> dict[str, Any]:
    """Keep the comparison of models and the residuals of withheld points."""
    window = points.window[points.ok]
    check = {"window": window.tolist(), "dx": choice.residual_dx.tolist(), "dy": choice.residual_dy.tolist()}
    return {"models": choice.table, "check": check}


def _lifted(quality: Quality, compared: Comparison | None) -> Quality:
    """Tell what is left between elevation models, too; whether blocks agree is no news then."""
    if compared is None:
        return quality
    return replace(
        quality,
        warnings=tuple(text for text in quality.warnings if not text.startswith(_USELESS[:20])),
        dh_count=compared.count,
        dh_median_before=compared.before.median,
        dh_median_after=compared.after.median,
        dh_nmad_before=compared.before.nmad,
        dh_nmad_after=compared.after.nmad,
    )


def _quality(points: TiePoints, choice: Choice | None, scene: Scene) -> Quality:
    ok = points.ok
    if choice is None:
        return Quality(n_windows=len(points), n_ok=int(ok.sum()))
    before = points.dcol[ok], points.drow[ok]
    after = vector_to_pixel(linear_of(scene.target.grid.affine), choice.residual_dx, choice.residual_dy)
    rmse = [float(np.sqrt(np.nanmean(np.hypot(*part) ** 2))) for part in (before, after)]
    useless = rmse[1] >= rmse[0]
    told = (_USELESS.format(*rmse),) if useless else ()

    def middle(values: Floats) -> float:
        kept = values[ok][np.isfinite(values[ok])]
        return float(np.median(kept)) if kept.size else float("nan")

    return Quality(
        reliability=middle(points.reliability),
        score=middle(points.score),
        ssim_before=middle(points.ssim_before),
        ssim_after=middle(points.ssim_after),
        n_windows=len(points),
        n_ok=int(ok.sum()),
        spread_px=float(np.hypot(nmad(after[0]), nmad(after[1])) / np.sqrt(2)),
        n_check=int(np.isfinite(after[0]).sum()),
        median_before=float(np.median(np.hypot(*before))),
        median_after=float(np.nanmedian(np.hypot(*after))),
        rmse_before=rmse[0],
        rmse_after=rmse[1],
        ce90_before=ce90(*before),
        ce90_after=ce90(*after),
        warnings=(*choice.warnings, *told),
    )
