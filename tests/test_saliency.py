"""Saliencies: values, dtypes and refusals."""

import ml_dtypes
import numpy as np
import pytest

from masksolve import saliency


@pytest.mark.parametrize("dtype", [np.float16, ml_dtypes.bfloat16, np.float32, np.float64], ids=str)
def test_magnitude_of_floats(dtype):
    w = np.array([[-1.5, 0.0], [2.0, -0.0]], dtype)
    score = saliency.magnitude(w)
    assert score.dtype == w.dtype
    assert score.tolist() == [[1.5, 0.0], [2.0, 0.0]]
    assert w[0, 0] == -1.5


@pytest.mark.parametrize("dtype", [np.int8, np.int16, np.int32, np.int64])
def test_magnitude_of_the_most_negative_integer(dtype):
    low = np.iinfo(dtype).min
    score = saliency.magnitude(np.array([low, low + 1, 3], dtype))
    assert score.dtype.kind == "u"
    assert score.tolist() == [-int(low), -int(low) - 1, 3]


def test_magnitude_of_unsigned_and_bool():
    assert saliency.magnitude(np.array([255], np.uint8)).tolist() == [255]
    assert saliency.magnitude(np.array([True, False])).tolist() == [True, False]


def test_wanda_weighs_each_input():
    w = np.array([[[1.0, -2.0, 3.0], [0.0, 1.0, -1.0]]])
    assert saliency.wanda(w, [2.0, 0.0, 0.5]).tolist() == [[[2.0, 0.0, 1.5], [0.0, 0.0, 0.5]]]


def test_wanda_can_change_the_order():
    score = saliency.wanda(np.array([[1.0, -1.1]], np.float32), np.array([2.0, 1.0], np.float32))
    assert score.dtype == np.float32
    assert score[0, 0] > score[0, 1]


def test_wanda_of_integers_is_floating():
    score = saliency.wanda(np.array([[-128, 1]], np.int8), np.array([200, 3], np.int64))
    assert score.tolist() == [[25600.0, 3.0]]


@pytest.mark.parametrize(
    ("w", "x_norm", "error", "message"),
    [
        (np.ones((2, 3)), np.ones(2), ValueError, r"x_norm .*\(2, 3\), got shape \(2,\)"),
        (np.ones((2, 3)), np.ones((1, 3)), ValueError, r"got shape \(1, 3\)"),
        (np.array(1.0), np.array(1.0), ValueError, "x_norm must have one entry for each input"),
        (np.ones((1, 2)), [1.0, -2.0], ValueError, r"not negative, got -2.0 at index \[1\]"),
        (np.ones((1, 2)), [np.nan, 1.0], ValueError, r"finite and not negative, got nan at index \[0\]"),
        (np.ones((1, 2), complex), np.ones(2), TypeError, "w must hold real numbers"),
        (np.ones((1, 2)), "no", TypeError, "x_norm must be a NumPy array"),
    ],
)
def test_bad_input(w, x_norm, error, message):
    with pytest.raises(error, match=message):
        saliency.wanda(w, x_norm)
