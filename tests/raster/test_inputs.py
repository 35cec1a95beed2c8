"""DataTrees: groups of 10, 20 and 60 m, one fit."""

from __future__ import annotations

import numpy as np
import pytest
import xarray as xr

import xcoreg
from xcoreg.errors import OptionError
from xcoreg.raster.georeference import CRS_ATTRS

pytestmark = pytest.mark.skipif(not hasattr(xr, "DataTree"), reason="xarray is too old for DataTree")
SIZES = {"r10m": 1, "r20m": 2, "r60m": 6}
NAMES = {name: f"/measurements/{name}" for name in SIZES}


@pytest.fixture(scope="module")
def scene():
    return xcoreg.simulate.pair((240, 240), shift=(2.4, -1.3), seed=1)


def tree_of(scene, place):
    """Tree whose CRS stands in its groups, in the attributes of its root, or in a variable there."""
    band = scene.tgt.drop_vars("spatial_ref").astype("float32")
    band = band.drop_attrs() if hasattr(band, "drop_attrs") else band
    groups = {NAMES[name]: band.coarsen(x=step, y=step).mean().to_dataset(name="b02") for name, step in SIZES.items()}
    if place == "groups":
        groups = {path: one.rio.write_crs(32633) for path, one in groups.items()}
    root = {
        "groups": xr.Dataset(attrs={"title": "scene"}),
        "attrs": xr.Dataset(attrs={"title": "scene", "crs": "EPSG:32633"}),
        "stac": xr.Dataset(attrs={"title": "scene", "stac_discovery": {"properties": {"proj:epsg": 32633}}}),
        "variable": xr.Dataset({"spatial_ref": xr.DataArray(0, attrs=scene.tgt.spatial_ref.attrs)}).assign_attrs(
            title="scene"
        ),
    }[place]
    table = xr.Dataset({"angle": ("n", np.arange(3.0))})
    return xr.DataTree.from_dict({"/": root, **groups, "/conditions": table}, name="s2")


@pytest.mark.parametrize("place", ["groups", "attrs", "stac", "variable"])
def test_all_groups_are_moved_by_one_fit(scene, place):
    tree = tree_of(scene, place)
    fit = tree.coreg.match(scene.ref)
    assert (fit.shift.dcol, fit.shift.drow) == pytest.approx((2.4, -1.3), abs=0.02)
    out = tree.coreg.apply(fit)
    for name, step in SIZES.items():
        grid = out[NAMES[name]].to_dataset().coreg.grid
        assert (grid.affine.a, grid.affine.c) == pytest.approx((10.0 * step, 300000 + fit.shift.dx))
        assert (grid.crs.epsg, grid.affine.f) == (32633, pytest.approx(5900040 + fit.shift.dy))
    assert out["/conditions"].to_dataset().identical(tree["/conditions"].to_dataset())
    assert (out.name, out.attrs["title"]) == ("s2", "scene")


def test_both_steps_in_one_and_trees_on_both_sides(scene):
    tree = tree_of(scene, "groups")
    out = tree.coreg.shift_to(tree_of(scene, "groups"))
    assert out[NAMES["r60m"]].to_dataset().coreg.grid.affine.c == pytest.approx(300000, abs=0.1)
    warped = tree.coreg.warp_to(scene.ref, spacing=40, window=64, model="affine")
    assert warped[NAMES["r20m"]].to_dataset().coreg.grid.affine.a == 20.0


def test_the_finest_group_is_described(scene):
    assert tree_of(scene, "attrs").coreg.grid.affine.a == 10.0
    assert "240 x 240 px" in repr(tree_of(scene, "attrs").coreg)


def test_a_tree_without_images_names_the_cure(scene):
    with pytest.raises(OptionError, match=r"DataTree without a georeferenced image: choose one, tree\['\.\.\.'\]"):
        xr.DataTree.from_dict({"/a": xr.Dataset({"t": ("n", [1.0])})}).coreg.match(scene.ref)


def test_the_attributes_that_are_inherited_are_those_of_a_crs():
    assert "crs" in CRS_ATTRS
    assert "transform" not in CRS_ATTRS  # groups differ in their pixel size
