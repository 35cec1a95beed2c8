"""Options that no image can have are refused, in a sentence."""

import pytest

from xcoreg.errors import OptionError
from xcoreg.simulate import Acquisition, Product


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({"clouds": 1.5}, "clouds is a fraction"),
        ({"wedge": -0.1}, "wedge is a fraction"),
        ({"coarser": 0}, "coarser must be an integer"),
        ({"resampled_from": 2.5}, "resampled_from must be an integer"),
        ({"blur": -1.0}, "blur is a standard deviation"),
    ],
)
def test_acquisition_refuses(options, sentence):
    with pytest.raises(OptionError, match=sentence):
        Acquisition(**options)


def test_product_names_the_dtypes_it_knows():
    with pytest.raises(OptionError, match="uint16"):
        Product(dtype="complex64")


def test_level_can_be_given_in_part():
    assert Product(dtype="uint8", mean=90.0).level == (90.0, 25.0)
