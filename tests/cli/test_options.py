import math

import click
import pytest
from click.testing import CliRunner

from xcoreg.cli.options import creation_options, match_options, write_options
from xcoreg.errors import OptionError


def parsed(*arguments):
    @click.command()
    @match_options
    @write_options
    def command(**options):
        found.update(options)

    found = {}
    result = CliRunner().invoke(command, arguments)
    assert result.exit_code == 0, result.output
    return found


def test_a_band_is_a_number_or_a_name():
    options = parsed("--band", "3", "--ref-band", "B08")
    assert options["band"] == 3
    assert options["ref_band"] == "B08"


def test_negative_places_are_no_options():
    assert parsed("--at", "-45.5", "-70")["at"] == (-45.5, -70.0)


def test_nodata_may_be_infinite_or_nan():
    assert parsed("--nodata", "-inf")["nodata"] == -math.inf
    assert math.isnan(parsed("--ref-nodata", "nan")["ref_nodata"])


def test_what_is_not_given_is_none_or_the_documented_default():
    options = parsed()
    assert [options[name] for name in ("at", "nodata", "window", "max_shift")] == [None] * 4
    assert (options["windows"], options["contrast"], options["resampling"]) == (9, "same", "auto")
    assert options["overwrite"] is False


def test_creation_options_are_pairs():
    assert creation_options(("COMPRESS=ZSTD", "PHOTOMETRIC=a=b")) == {"compress": "ZSTD", "photometric": "a=b"}


@pytest.mark.parametrize("pair", ["COMPRESS", "=ZSTD", ""])
def test_a_creation_option_without_a_pair_is_refused(pair):
    with pytest.raises(OptionError, match="KEY=VALUE"):
        creation_options((pair,))
