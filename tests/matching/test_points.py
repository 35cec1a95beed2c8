"""Elevation models and points of known height."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest

import xcoreg
from xcoreg.core.matches import Status
from xcoreg.matching.points import compare_points
from xcoreg.simulate import DemNoise, dem_pair

gpd = pytest.importorskip("geopandas")

DATA = Path(os.environ.get("XCOREG_DATA", Path(__file__).resolve().parents[3] / "shared" / "data"))
CALM = DemNoise(0.3, 0.0, 5.0, 0.0)


@pytest.fixture(scope="module")
def both():
    return dem_pair((700, 800), noise=CALM, seed=9)


def cloud_of(both, n=1500, seed=1, **columns):
    """Points on the pixels of the reference without noise, where the truth is exact."""
    rng = np.random.default_rng(seed)
    row, col = rng.integers(5, 695, n), rng.integers(5, 795, n)
    z = both.clean.values[row, col].astype(float)
    geometry = gpd.points_from_xy(both.clean.x.values[col], both.clean.y.values[row])
    return gpd.GeoDataFrame({"height": z, **columns}, geometry=geometry, crs="EPSG:32633")


@pytest.fixture(scope="module")
def cloud(both):
    return cloud_of(both)


@pytest.mark.parametrize("matcher", ["phase", "nuth_kaab", "nuth_kaab:classic"])
def test_points_determine_the_correction(both, cloud, matcher):
    fit = both.tgt.coreg.match(cloud, matcher=matcher)
    limit = 0.6 if matcher == "nuth_kaab:classic" else 0.15
    assert [fit.shift.dx, fit.shift.dy] == pytest.approx([9.2, 2.7], abs=limit)
    assert fit.shift.dz == pytest.approx(-2.0, abs=0.04)
    assert fit.quality.dh_count > 1400
    assert fit.quality.dh_nmad_after < 0.35 < fit.quality.dh_nmad_before


def test_blunders_among_points_do_little(both, cloud):
    wrong = cloud.copy()
    wrong.loc[::20, "height"] += 80.0
    fit = both.tgt.coreg.match(wrong)
    assert [fit.shift.dx, fit.shift.dy, fit.shift.dz] == pytest.approx([9.2, 2.7, -2.0], abs=0.2)


def test_errors_are_as_large_as_estimated(both):
    off = []
    for seed in range(12):
        fit = both.tgt.coreg.match(cloud_of(both, 200, seed))
        sigma = np.sqrt(np.diag(fit.shift.cov3))
        off.append((np.array([fit.shift.dx, fit.shift.dy, fit.shift.dz]) - [9.2, 2.7, -2.0]) / sigma)
    assert 0.6 < np.sqrt(np.mean(np.square(off))) < 1.5


def test_heights_are_the_third_coordinate_or_a_named_column(both, cloud):
    lifted = cloud.set_geometry(gpd.points_from_xy(cloud.geometry.x, cloud.geometry.y, cloud["height"]), crs=cloud.crs)
    named = cloud.rename(columns={"height": "my heights"})
    compared = compare_points(both.tgt, cloud).median
    assert compare_points(both.tgt, lifted.drop(columns="height")).median == compared
    assert compare_points(both.tgt, named, z="my heights").median == compared
    with pytest.raises(xcoreg.OptionError, match="z="):
        both.tgt.coreg.match(named)


def test_points_may_come_in_another_crs(both, cloud):
    there = both.tgt.coreg.match(cloud.to_crs("EPSG:4326"))
    here = both.tgt.coreg.match(cloud)
    assert there.shift.dx == pytest.approx(here.shift.dx, abs=1e-3)


def test_a_mask_and_the_border_leave_points_out(both, cloud):
    where = both.stable.copy(deep=True)
    where[:, 400:] = 0
    assert both.tgt.coreg.match(cloud, where=where).quality.dh_count < 0.6 * len(cloud)
    nowhere = both.tgt.coreg.match(cloud, where=where * 0, errors="return")
    assert nowhere.status is Status.MASKED
    assert np.isnan(nowhere.points.dx).all()
    far = cloud.set_geometry(cloud.translate(1e6, 0))
    with pytest.raises(xcoreg.NoOverlap):
        both.tgt.coreg.match(far)


def test_noise_is_no_relief(both, cloud):
    noise = np.random.default_rng(3).normal(100, 0.5, both.tgt.shape).astype(np.float32)
    flat = cloud.assign(height=103.0)
    fit = both.tgt.copy(data=noise).coreg.match(flat, matcher="nuth_kaab", errors="return")
    assert fit.status is Status.UNCONSTRAINED
    assert np.isinf(fit.points.cov[0].diagonal()).any()
    assert both.tgt.copy(data=noise).coreg.match(flat, matcher="vertical").shift.dz == pytest.approx(3.0, abs=0.05)


def test_few_points_say_nothing(both, cloud):
    with pytest.raises(xcoreg.MatchError, match="too few"):
        both.tgt.coreg.match(cloud.iloc[:10])


def test_statistics_count_model_minus_points(both, cloud):
    compared = compare_points(both.tgt, cloud)
    assert compared.count > 1400
    assert compared.median > 1.0  # the model lies 2 m above the points
    assert compared.le90 >= compared.nmad
    assert np.isfinite(compared.difference).sum() == compared.count
    assert sum(row["count"] for row in compared.by_slope) == compared.count
    assert sum(row["count"] for row in compared.by_aspect) == compared.count


def test_statistics_after_a_fit_are_those_of_noise(both, cloud):
    compared = compare_points(both.tgt, cloud, fit=both.tgt.coreg.match(cloud))
    assert abs(compared.median) < 0.03
    assert compared.nmad < 0.35
    assert max(abs(row["median"]) for row in compared.by_aspect if row["count"] > 100) < 0.1


def test_slopes_face_where_the_ground_falls():
    both = dem_pair((60, 70), shift=(0, 0, 0), noise=DemNoise(0, 0, 5, 0))
    east = np.broadcast_to(1000 - 10.0 * np.arange(70), (60, 70)).astype(np.float32)
    compared = compare_points(
        both.tgt.copy(data=east), cloud_of(dem_pair((700, 800), noise=CALM)).cx[:501300, 5398900:]
    )
    assert {row["aspect"]: row["count"] for row in compared.by_aspect}["E"] == compared.count
    assert {row["slope"]: row["count"] for row in compared.by_slope}["20-30"] == compared.count


@pytest.mark.skipif(not (DATA / "dem_hooker").is_dir(), reason="the elevation models are not here")
def test_hooker_agrees_with_ellipsoidal_heights_of_icesat_alone():
    points = gpd.read_file(DATA / "dem_hooker" / "icesat" / "ICESAT_subset.shp")
    dem = xcoreg.open_raster(DATA / "dem_hooker" / "HookerFJL_13APR19WV01DEM3_warped.tif")
    right, wrong = (compare_points(dem, points, z=name) for name in ("H_ell", "H_orto"))
    assert right.count == 45
    assert abs(right.median) < 0.15
    assert right.nmad < 0.5
    assert wrong.median - right.median == pytest.approx(12.25, abs=0.1)


@pytest.mark.skipif(not (DATA / "dem_hooker").is_dir(), reason="the elevation models are not here")
def test_hooker_models_close_and_get_no_worse():
    names = {"a": "13APR19WV01DEM3", "b": "13APR18WV01DEM1", "c": "11AUG16WV01DEM1"}
    dems = {
        key: xcoreg.open_raster(DATA / "dem_hooker" / f"HookerFJL_{name}_warped.tif") for key, name in names.items()
    }
    stable = xcoreg.open_raster(DATA / "dem_hooker" / "refgeo_10m.tif")
    total, cov = np.zeros(3), np.zeros((3, 3))
    for ref, tgt in (("a", "b"), ("b", "c"), ("c", "a")):
        fit = dems[tgt].coreg.match(dems[ref], matcher="nuth_kaab", where=stable)
        assert fit.quality.dh_nmad_after <= fit.quality.dh_nmad_before
        total += [fit.shift.dx, fit.shift.dy, fit.shift.dz]
        cov += np.array(fit.shift.cov3)
    assert total @ np.linalg.solve(cov, total) < 7.8  # 95 % of chi-squared with three degrees of freedom
