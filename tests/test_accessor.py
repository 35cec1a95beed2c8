import numpy as np
import pytest
import shapely
import xarray as xr
from affine import Affine

import xcoreg
from xcoreg.errors import MatchError, NoOverlap, NotGeoreferenced, OptionError
from xcoreg.simulate import Acquisition, pair


@pytest.fixture(scope="module")
def both():
    return pair((220, 240), shift=(0.7, -1.2), seed=1, tgt=Acquisition(wedge=0.1))


@pytest.fixture(scope="module")
def fit(both):
    return both.tgt.coreg.match(both.ref)


# --- what is there ---------------------------------------------------------------------------------------------------


def test_grid(both):
    grid = both.tgt.coreg.grid
    assert grid.shape == (220, 240)
    assert tuple(grid.affine)[:6] == (10, 0, 300000, 0, -10, 5900040)
    assert grid.crs.epsg == 32633


def test_grid_of_a_dataset(both):
    assert both.tgt.to_dataset(name="red").coreg.grid == both.tgt.coreg.grid


def test_the_grid_of_a_bare_array_is_refused_with_the_cure():
    with pytest.raises(NotGeoreferenced, match=r"write_crs"):
        xr.DataArray(np.zeros((4, 4)), {"y": np.arange(4.0), "x": np.arange(4.0)}, ("y", "x")).coreg.grid  # noqa: B018


def test_nodata_that_is_stored(both):
    assert both.tgt.coreg.nodata == 0


def test_nodata_that_is_found_in_the_corners(both):
    values = both.ref.values.copy()
    values[:60, :60] = 0
    image = both.ref.copy(data=values)
    del image.attrs["_FillValue"]
    assert image.coreg.nodata == 0


def test_no_nodata_is_none(both):
    image = both.ref.copy()
    del image.attrs["_FillValue"]
    assert image.coreg.nodata is None


def test_the_footprint_excludes_missing_pixels(both):
    outline = both.tgt.coreg.footprint()
    share = outline.area / shapely.box(*both.tgt.rio.bounds()).area
    assert share == pytest.approx(0.9, abs=0.02)


def test_footprint_takes_band_and_nodata(both):
    assert both.tgt.coreg.footprint(band=1, nodata=-1).area == pytest.approx(2200 * 2400)


def test_overlap_is_where_both_have_data(both):
    ref = both.ref[:110]
    shared = both.tgt.coreg.overlap(ref)
    assert shared.bounds[1] == pytest.approx(5900040 - 1100, abs=20)
    assert shared.area < 1100 * 2400


def test_overlap_of_images_far_apart(both):
    far = both.ref.assign_coords(x=both.ref.x + 1e5)
    with pytest.raises(NoOverlap):
        both.tgt.coreg.overlap(far)


# --- match and apply -------------------------------------------------------------------------------------------------


def test_match_is_the_function(both, fit):
    assert xcoreg.match(both.tgt, both.ref).shift == fit.shift
    assert (fit.shift.dcol, fit.shift.drow) == pytest.approx((0.7, -1.2), abs=0.01)


def test_shift_to_moves_the_transform_and_touches_no_pixel(both, fit):
    fixed = both.tgt.coreg.shift_to(both.ref)
    assert fixed.x.values == pytest.approx(both.tgt.x.values + fit.shift.dx)
    assert fixed.y.values == pytest.approx(both.tgt.y.values + fit.shift.dy)
    assert fixed.data is both.tgt.data


def test_no_shift_remains_after_shift_to(both):
    again = both.tgt.coreg.shift_to(both.ref).coreg.match(both.ref)
    assert max(abs(again.shift.dcol), abs(again.shift.drow)) < 0.005


def test_shift_to_of_dask_stays_lazy(both):
    import dask

    def refuse(*_, **__):
        raise AssertionError("computed")

    tgt = both.tgt.chunk(x=100, y=100)
    fit = both.tgt.coreg.match(both.ref)
    with dask.config.set(scheduler=refuse):
        fixed = tgt.coreg.apply(fit)
        like = tgt.coreg.apply(fit, like=both.ref)
    assert fixed.chunks == tgt.chunks
    assert like.chunks is not None


def test_shift_to_passes_each_option_to_its_step(both):
    fixed = both.tgt.coreg.shift_to(both.ref, window=96, like=both.ref, resampling="bilinear")
    assert fixed.shape == both.ref.shape
    assert (fixed.x == both.ref.x).all()
    assert fixed.dtype == both.tgt.dtype


def test_shift_to_with_align_grid_is_on_the_lattice_of_the_reference(both):
    fixed = both.tgt.coreg.shift_to(both.ref, align_grid=True)
    assert (fixed.x.values - both.ref.x.values[0]) % 10 == pytest.approx(np.zeros(fixed.sizes["x"]), abs=1e-6)


def test_shift_to_passes_nodata_to_both_steps(both):
    tgt = both.tgt.where(both.tgt > 0, 9).astype("uint16")
    tgt.attrs["_FillValue"] = 1
    fixed = tgt.coreg.shift_to(both.ref, nodata=9, align_grid=True, resampling="nearest")
    assert (fixed == 9).mean() > 0.08
    assert not ((fixed > 0) & (fixed < 9)).any()


@pytest.mark.parametrize("typo", ["windw", "alignd_grid", "resamplin"])
def test_a_typo_is_refused_with_a_hint(both, typo):
    with pytest.raises(OptionError, match=f"there is no option '{typo}'"):
        both.tgt.coreg.shift_to(both.ref, **{typo: 1})


def test_every_variable_of_a_dataset_is_corrected(both, fit):
    data = both.tgt.to_dataset(name="red").assign(cloud=both.tgt_cloud)
    fixed = data.coreg.shift_to(both.ref, band="red")
    assert fixed.red.x.values == pytest.approx(both.tgt.x.values + fit.shift.dx)
    assert fixed.cloud.dtype == bool
    assert (fixed.cloud.values == both.tgt_cloud.values).all()


def test_one_fit_corrects_other_images(both, fit):
    coarse = both.tgt.coarsen(x=2, y=2).mean()
    fixed = coarse.coreg.apply(fit)
    assert fixed.x.values == pytest.approx(coarse.x.values + fit.shift.dx)


def test_a_pair_that_cannot_be_matched_is_not_corrected(both):
    other = pair((220, 240), shift=None, seed=3)
    with pytest.raises(MatchError, match="no trustworthy match"):
        other.tgt.coreg.shift_to(other.ref)
    with pytest.raises(MatchError):
        other.tgt.coreg.shift_to(other.ref, errors="return")


def test_attributes_and_names_survive(both):
    tgt = both.tgt.rename("red").assign_attrs(product="L2A", scale_factor=0.0001)
    fixed = tgt.coreg.shift_to(both.ref)
    assert fixed.name == "red"
    assert (fixed.attrs["product"], fixed.attrs["scale_factor"]) == ("L2A", 0.0001)
    assert fixed.dtype == np.uint16


def test_south_up_images_are_moved_the_right_way(both):
    flipped = both.tgt[::-1].copy()
    flipped.rio.write_transform(Affine(10, 0, 300000, 0, 10, 5900040 - 2200), inplace=True)
    fixed = flipped.coreg.shift_to(both.ref)
    assert fixed.x.values[0] - flipped.x.values[0] == pytest.approx(7.0, abs=0.1)
    assert fixed.y.values[0] - flipped.y.values[0] == pytest.approx(12.0, abs=0.1)


def test_shift_to_knows_the_names_of_both_steps(both):
    with pytest.raises(OptionError, match="did you mean 'resampling'"):
        both.tgt.coreg.shift_to(both.ref, resamplin="nearest")
