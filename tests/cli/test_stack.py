"""The command stack, and batch --adjust."""

from __future__ import annotations

import numpy as np
import pytest
from click.testing import CliRunner

import xcoreg
from xcoreg.cli import cli
from xcoreg.simulate import cube


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    folder = tmp_path_factory.mktemp("dates")
    made = cube(4, (160, 160), clouds=0, seed=4)
    names = [f"s_{str(time)[:10].replace('-', '')}.tif" for time in made.cube.time.values]
    for name, image in zip(names, made.cube, strict=True):
        xcoreg.write_raster(image.drop_vars("time"), folder / name)
    return [str(folder / name) for name in names], made.shifts


def run(*words):
    return CliRunner().invoke(cli, [str(word) for word in words])


def test_dates_are_moved_and_the_stack_is_written(files, tmp_path):
    paths, shifts = files
    result = run("stack", *paths, "--out", tmp_path / "out")
    assert result.exit_code == 0, result.output
    stack = xcoreg.load_stack(tmp_path / "out" / "stack.json")
    assert stack.shifts_px == pytest.approx(shifts - shifts.mean(0), abs=0.03)
    fixed = xcoreg.open_raster(tmp_path / "out" / "s_20200105.tif")
    assert float(fixed.x[0]) == pytest.approx(300005 + stack.shifts[0, 0])
    assert "4 of 4 dates placed" in result.output


def test_a_reference_and_a_common_grid(files, tmp_path):
    paths, shifts = files
    options = ("--ref", paths[0], "--like", paths[0], "--report")
    result = run("stack", *paths[1:], "--out", tmp_path / "out", *options)
    assert result.exit_code == 0, result.output
    stack = xcoreg.load_stack(tmp_path / "out" / "stack.json")
    assert stack.shifts_px == pytest.approx(shifts[1:] - shifts[0], abs=0.03)
    fixed = xcoreg.open_raster(tmp_path / "out" / "s_20200121.tif")
    assert fixed.coreg.grid == xcoreg.open_raster(paths[0]).coreg.grid
    assert (tmp_path / "out" / "stack.html").exists()


def test_a_stack_is_extended(files, tmp_path):
    paths, _ = files
    assert run("stack", *paths[:3], "--out", tmp_path / "a", "--no-images").exit_code == 0
    result = run("stack", *paths, "--out", tmp_path / "b", "--no-images", "--extend", tmp_path / "a" / "stack.json")
    assert result.exit_code == 0, result.output
    assert len(xcoreg.load_stack(tmp_path / "b" / "stack.json").names) == 4
    assert not list((tmp_path / "b").glob("*.tif"))
    before = (tmp_path / "b" / "stack.json").read_bytes()
    again = run("stack", *paths, "--out", tmp_path / "b", "--no-images", "--extend", tmp_path / "b" / "stack.json")
    assert (again.exit_code, (tmp_path / "b" / "stack.json").read_bytes()) == (2, before)
    assert "give another folder" in again.output


def test_outputs_are_not_replaced_unasked_and_options_are_checked(files, tmp_path):
    paths, _ = files
    assert run("stack", *paths, "--out", tmp_path).exit_code == 0
    again = run("stack", *paths, "--out", tmp_path)
    assert again.exit_code == 2
    assert "--overwrite" in again.output
    assert "--fields" in run("stack", *paths, "--out", tmp_path / "x", "--spacing", 30).output


def test_a_batch_is_adjusted_as_one_network(files, tmp_path):
    paths, shifts = files
    options = ("--ref", paths[0], "--out", tmp_path / "out", "--adjust")
    result = run("batch", *paths[1:], *options)
    assert result.exit_code == 0, result.output
    stack = xcoreg.load_stack(tmp_path / "out" / "stack.json")
    assert len(stack.pairs) == 6
    fit = xcoreg.load_fit(tmp_path / "out" / "scenes" / "s_20200121.fit.json")
    assert (fit.shift.dcol, fit.shift.drow) == pytest.approx(tuple(stack.shifts_px[0]))
    assert np.array([fit.shift.dcol, fit.shift.drow]) == pytest.approx(shifts[1] - shifts[0], abs=0.03)
    again = run("batch", *paths[1:], *options)
    assert "3 of them done before" in again.output


def test_a_batch_with_several_references_cannot_be_adjusted(files, tmp_path):
    paths, _ = files
    table = tmp_path / "jobs.csv"
    table.write_text(f"target,reference\n{paths[0]},{paths[1]}\n{paths[2]},{paths[3]}\n")
    result = run("batch", table, "--out", tmp_path / "out", "--adjust")
    assert result.exit_code == 2
    assert "one reference" in result.output


def test_apply_takes_the_date_of_a_stack(files, tmp_path):
    paths, _ = files
    assert run("stack", *paths, "--out", tmp_path / "a").exit_code == 0
    stack = tmp_path / "a" / "stack.json"
    assert run("apply", stack, paths[2], tmp_path / "one.tif").exit_code == 0
    wanted = xcoreg.open_raster(tmp_path / "a" / "s_20200206.tif")
    assert xcoreg.open_raster(tmp_path / "one.tif").coreg.grid == wanted.coreg.grid
    other = tmp_path / "nir.tif"
    xcoreg.write_raster(xcoreg.open_raster(paths[2]), other)
    unknown = run("apply", stack, other, tmp_path / "two.tif")
    assert unknown.exit_code == 2
    assert "no date 'nir'" in unknown.output
    assert run("apply", stack, other, tmp_path / "two.tif", "--date", "s_20200206").exit_code == 0
    assert xcoreg.open_raster(tmp_path / "two.tif").coreg.grid == wanted.coreg.grid
