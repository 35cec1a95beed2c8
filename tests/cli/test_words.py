"""Messages of the library in the words of the shell."""

import pytest

from xcoreg.cli.words import in_shell_words, with_shell_command


@pytest.mark.parametrize(
    ("python", "shell"),
    [
        ("give it with ref=", "give it with --ref"),
        ("align_grid=True and like= name two", "--align-grid and --like name two"),
        ("or leave them, vertical=False", "or leave them, --no-vertical"),
        ("set it with da.rio.write_transform(affine) or give it x and y",
         "set it with rio edit-info --transform '[a, b, c, d, e, f]' FILE"),
        ("rectify it first, da.coreg.rectify(crs=ref.rio.crs)", "rectify it first, xcoreg georef rectify FILE OUT"),
        ("estimate and apply with tgt.coreg.warp_to(ref)", "estimate and apply with xcoreg warp"),
        ("a fit is written by fit.save(path)", "a fit is written by --save-fit FILE"),
        ("choose one of each with xarray, xarray.open_dataset('a.nc', decode_coords='all')[name].isel(time=0)",
         "choose one of each with gdal_translate -b NUMBER FILE ONE.tif"),
        ("dz is not added; give vertical=True", "dz is not added; give --vertical"),
        ("need the grid: fit.points.save(path, columns='arosics'), or points.on_grid(tgt.coreg.grid).save(path)",
         "need the grid: xcoreg points"),
        ("dcol=+0.3 of a == b", "dcol=+0.3 of a == b"),
    ],
)  # fmt: skip
def test_python_becomes_shell(python, shell):
    assert in_shell_words(python) == shell


def test_an_option_of_the_command_is_spelled_as_one():
    assert in_shell_words("resolution= is 0", {"resolution": "--res"}) == "--res is 0"
    assert in_shell_words("max_shift is -3", {"max_shift": "--max-shift"}) == "--max-shift is -3"
    assert in_shell_words("resolution= is 0") == "resolution= is 0"


def test_a_command_is_not_named_twice():
    text = with_shell_command("it has no CRS: set it with da.rio.write_crs('EPSG:...') first")
    assert text.count("rio edit-info") == 1


def test_no_call_of_python_reaches_the_shell(run, make_tif):
    import numpy as np

    bare = make_tif("bare.tif", np.ones((40, 50), "uint8"), crs=None)
    for words in (("match", bare, bare), ("info", bare), ("shift", bare, bare, bare.replace("bare", "out"))):
        result = run(*words)
        assert "da.rio" not in result.output
        assert ".coreg" not in result.output
        assert "rio edit-info --crs" in result.output
