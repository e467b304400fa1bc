"""Interface of the hardware cost model; the model itself is proved in proofs/test_hardware_model.py.

The bit layout of positions is compared with torch's in test_packing.py.
"""

import pytest

import masksolve as ms
from masksolve.hardware import cost, group_cells, multiplexer


def test_the_papers_example():
    assert cost("2:4").inputs == 3
    assert cost("4:8").inputs == 5
    assert cost("4:8-T") == cost("4:8") == cost(ms.Pattern(4, 8))


def test_a_dense_group_needs_no_multiplexer():
    assert cost("4:4") == (1, 0, 0, 0)
    assert group_cells("4:4") == 0


def test_asymmetric_patterns_follow_the_zeros():
    assert cost("1:4").inputs == 4
    assert cost("3:4").inputs == 2


@pytest.mark.parametrize(
    ("inputs", "error", "message"),
    [
        (0, ValueError, "inputs must be at least 1, got 0"),
        (2.0, TypeError, "inputs must be an integer, got 2.0"),
        (True, TypeError, "inputs must be an integer, got True"),
    ],
)
def test_bad_input(inputs, error, message):
    with pytest.raises(error, match=message):
        multiplexer(inputs)
    with pytest.raises(ValueError, match="pattern must look like"):
        cost("four of eight")
