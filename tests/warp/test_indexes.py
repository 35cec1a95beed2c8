"""Indexes of rasterix and xproj that come in go out; Datasets of several grids and grid mappings are corrected."""

from __future__ import annotations

import numpy as np
import pytest
import xarray as xr
from affine import Affine
from pyproj import CRS
from xarray.indexes import Index

import xcoreg
from xcoreg.errors import OptionError
from xcoreg.raster.georeference import variable_of
from xcoreg.raster.grid import grid_of


class RasterIndex(Index):
    """As that of rasterix: a transform in place of stored coordinates."""

    def __init__(self, affine, width, height, x_dim, y_dim, crs):
        self.affine, self.crs = affine, None if crs is None else CRS.from_user_input(crs)
        self.sizes = {y_dim: height, x_dim: width}

    @classmethod
    def from_transform(cls, affine, *, width, height, x_dim="x", y_dim="y", crs=None):
        return cls(affine, width, height, x_dim, y_dim, crs)

    @property
    def xy_dims(self):
        return tuple(reversed(self.sizes))

    def transform(self):
        return self.affine

    def create_variables(self, variables=None):
        (y_dim, rows), (x_dim, cols) = self.sizes.items()
        x = self.affine.c + self.affine.a * (np.arange(cols) + 0.5)
        y = self.affine.f + self.affine.e * (np.arange(rows) + 0.5)
        return {x_dim: xr.Variable(x_dim, x), y_dim: xr.Variable(y_dim, y)}


class CRSIndex(Index):
    """As that of xproj: a CRS on a scalar coordinate without attributes."""

    def __init__(self, crs):
        self.crs = CRS.from_user_input(crs)

    @classmethod
    def from_variables(cls, variables, *, options):
        return cls(options["crs"])


@pytest.fixture(scope="module")
def scene():
    return xcoreg.simulate.pair((200, 200), shift=(2.4, -1.3), seed=1)


@pytest.fixture(scope="module")
def fit(scene):
    return scene.tgt.coreg.match(scene.ref)


def indexed(scene, raster, crs, name="spatial_ref"):
    """The target with indexes alone."""
    image = xr.DataArray(scene.tgt.values, dims=("y", "x"), name="nir")
    if raster:
        if not hasattr(xr.Coordinates, "from_xindex"):
            pytest.skip("xarray before 2025.4 has no indexes without coordinates")
        index = RasterIndex.from_transform(Affine(10, 0, 300000, 0, -10, 5900040), width=200, height=200, crs=raster)
        image = image.assign_coords(xr.Coordinates.from_xindex(index))
    else:
        image = image.assign_coords(x=scene.tgt.x.values, y=scene.tgt.y.values)
    return image.assign_coords({name: 0}).set_xindex([name], CRSIndex, crs=crs) if crs else image


KINDS = {
    "rasterix": {"raster": "EPSG:32633", "crs": None},
    "xproj": {"raster": None, "crs": "EPSG:32633"},
    "xproj elsewhere": {"raster": None, "crs": "EPSG:32633", "name": "utm"},
    "both": {"raster": "EPSG:32633", "crs": "EPSG:32633"},
}
APPLY = {"moved": {}, "aligned": {"align_grid": True, "nodata": 0}, "like": {"nodata": 0}}


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("as_dataset", [False, True])
@pytest.mark.parametrize("how", APPLY)
def test_indexes_survive(scene, fit, kind, as_dataset, how):
    image = indexed(scene, **KINDS[kind])
    image = image.to_dataset() if as_dataset else image
    assert image.coreg.match(scene.ref).shift == fit.shift
    options = {**APPLY[how], **({"like": scene.ref} if how == "like" else {})}
    out, expected = image.coreg.apply(fit, **options), scene.tgt.coreg.apply(fit, **options)
    assert {type(index) for index in out.xindexes.values()} == {type(index) for index in image.xindexes.values()}
    assert (grid_of(out).affine, grid_of(out).crs.epsg) == (grid_of(expected).affine, 32633)
    np.testing.assert_allclose(out.x, expected.x)


def test_a_transform_index_wins_over_rounded_coordinates(scene):
    image = indexed(scene, "EPSG:32633", None)
    assert grid_of(image).affine == Affine(10, 0, 300000, 0, -10, 5900040)


@pytest.fixture
def two_grids(scene):
    """Variables of 10 m and 20 m, each with a grid mapping of its own in a plain variable."""
    fine = xr.DataArray(scene.tgt.values, {"y": scene.tgt.y.values, "x": scene.tgt.x.values}, ("y", "x"))
    coarse = fine.coarsen(x=2, y=2).mean().rename(x="x20", y="y20")
    for axis in "xy":
        coarse[f"{axis}20"].attrs["standard_name"] = f"projection_{axis}_coordinate"
    attrs = scene.tgt.spatial_ref.attrs
    image = xr.Dataset({"a": fine.assign_attrs(grid_mapping="one"), "b": coarse.assign_attrs(grid_mapping="two")})
    return image.assign(one=((), 0, dict(attrs)), two=((), 0, dict(attrs)), table=("n", np.arange(3)))


def test_variables_on_other_grids_are_corrected_too(two_grids, scene, fit):
    assert two_grids.coreg.match(scene.ref, band="b").shift.dx == pytest.approx(24, abs=0.3)
    out = two_grids.coreg.apply(fit)
    for name, step in (("a", 10.0), ("b", 20.0)):
        affine = grid_of(variable_of(out, name)).affine
        assert (affine.a, affine.c, affine.f) == pytest.approx((step, 300000 + fit.shift.dx, 5900040 + fit.shift.dy))
    assert list(out.data_vars) == list(two_grids.data_vars)
    onto = two_grids.coreg.apply(fit, like=scene.ref, nodata=0)
    assert onto.a.shape == onto.b.shape == scene.ref.shape


def test_two_grid_mappings_of_one_grid_move_together(two_grids, fit):
    image = two_grids.drop_vars(["b", "x20", "y20"]).assign(b=two_grids.a.assign_attrs(grid_mapping="two"))
    out = image.coreg.apply(fit)
    assert out.one.attrs["GeoTransform"] == out.two.attrs["GeoTransform"]
    image["two"].attrs.update(crs_wkt=CRS.from_epsg(32632).to_wkt(), spatial_ref=CRS.from_epsg(32632).to_wkt())
    with pytest.raises(OptionError, match=r"variables b have another CRS .* ds\[\['b', 'two'\]\]"):
        image.coreg.apply(fit)


def test_transforms_in_attributes_move_and_boxes_of_the_old_place_go(scene, fit):
    image = scene.tgt.drop_vars(["spatial_ref", "x", "y"]).assign_attrs(
        {"crs": "EPSG:32633", "spatial:transform": [10, 0, 300000, 0, -10, 5900040], "spatial:bbox": [0, 0, 1, 1]}
    )
    out = image.coreg.apply(fit)
    assert out.attrs["spatial:transform"][2] == pytest.approx(300000 + fit.shift.dx)
    assert "spatial:bbox" not in out.attrs
    assert grid_of(out).affine.c == out.attrs["spatial:transform"][2]


def test_corner_coordinates_come_out_as_centres(scene):
    grid = Affine(10, 0, 300000, 0, -10, 5900040)
    corners = {"y": grid.f + grid.e * np.arange(200), "x": grid.c + grid.a * np.arange(200)}
    image = xr.DataArray(scene.tgt.values, corners, ("y", "x"), attrs={"crs": "epsg:32633", "transform": grid})
    with pytest.warns(xcoreg.CoregWarning, match="half a pixel off") as seen:
        out = image.coreg.shift_to(scene.ref)
    assert len(seen) == 1
    expected = scene.tgt.coreg.shift_to(scene.ref)
    np.testing.assert_allclose(out.x, expected.x)
    assert image.attrs["crs"] == "epsg:32633"
    assert image.x.values[0] == 300000
