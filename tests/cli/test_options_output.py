import pytest

from xcoreg.cli.options import OutputOptions
from xcoreg.errors import OptionError


@pytest.fixture
def target(tmp_path):
    path = tmp_path / "tgt.tif"
    path.write_bytes(b"pixels")
    return path


@pytest.mark.parametrize("spelling", ["tgt.tif", "./tgt.tif", "../{folder}/tgt.tif"])
def test_the_output_must_not_be_an_input(target, spelling):
    goal = target.parent / spelling.format(folder=target.parent.name)
    with pytest.raises(OptionError, match="input itself"):
        OutputOptions(goal, overwrite=True).check(str(target))


def test_a_link_to_an_input_is_that_input(target):
    link = target.parent / "link.tif"
    link.symlink_to(target)
    with pytest.raises(OptionError, match="input itself"):
        OutputOptions(link, overwrite=True).check(str(target))


def test_an_existing_file_is_replaced_only_with_overwrite(target):
    with pytest.raises(OptionError, match="--overwrite"):
        OutputOptions(target).check()
    OutputOptions(target, overwrite=True).check()


def test_a_missing_folder_is_refused_before_the_work(tmp_path):
    with pytest.raises(OptionError, match="there is no folder"):
        OutputOptions(tmp_path / "no" / "out.tif").check()


def test_a_folder_is_no_output(tmp_path):
    with pytest.raises(OptionError, match="folder"):
        OutputOptions(tmp_path, overwrite=True).check()


def test_two_grids_cannot_be_asked_for(tmp_path):
    with pytest.raises(OptionError, match="choose one"):
        OutputOptions(tmp_path / "out.tif", align_grid=True, like="ref.tif").check()
