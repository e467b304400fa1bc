"""Statistics where the mean is large against the deviation, and where sums overflow."""

from fractions import Fraction

import numpy as np
import pytest

from masksolve.pruning import saliency


def gathered(batches, inputs, **options):
    seen = saliency.Statistics.empty(inputs, **options)
    for batch in batches:
        seen.update(batch)
    return seen


def exact_covariance(x):
    """Of one input, in rational numbers."""
    values = [Fraction(float(each)) for each in x]
    mean = sum(values) / len(values)
    return float(sum((each - mean) ** 2 for each in values))


@pytest.mark.parametrize("mean", [0.0, 1e4, 1e8, 1e12])
@pytest.mark.parametrize("cuts", [1, 7])
def test_a_large_mean_does_not_cancel(mean, cuts):
    x = mean + np.random.default_rng(0).standard_normal((200, 1))
    seen = gathered(np.array_split(x, cuts), 1)
    assert seen.covariance[0, 0] == pytest.approx(exact_covariance(x[:, 0]), rel=1e-9 + 1e-15 * mean)
    assert seen.covariance[0, 0] > 0


def test_the_centred_matrix_is_positive_semidefinite():
    x = 1e8 + np.random.default_rng(1).standard_normal((50, 6))
    seen = gathered(np.split(x, 5), 6)
    assert np.linalg.eigvalsh(seen.covariance).min() > 0


def test_merging_is_gathering():
    x = 3 + np.random.default_rng(2).standard_normal((60, 4))
    apart = gathered([x[:13]], 4).merged(gathered([x[13:20], x[20:]], 4))
    together = gathered([x], 4)
    assert apart.count == together.count == 60
    for name in ("mean", "covariance", "gram", "total", "norm"):
        np.testing.assert_allclose(getattr(apart, name), getattr(together, name), rtol=1e-12, atol=1e-12)
    empty = gathered([], 4)
    np.testing.assert_array_equal(empty.merged(together).gram, together.gram)
    np.testing.assert_array_equal(together.merged(empty).gram, together.gram)


@pytest.mark.parametrize(("dtype", "size"), [("float64", 1e200), ("float32", 1e25)])
def test_overflow_is_an_error_and_nothing_is_taken_in(dtype, size):
    seen = gathered([[[1.0, 2.0]]], 2, dtype=dtype)
    before = seen.gram.copy()
    with pytest.raises(ValueError, match=f"products to be summed in {dtype}, got magnitude"):
        seen.update([[size, 1.0], [-size, 2.0]])
    assert seen.count == 1
    np.testing.assert_array_equal(seen.gram, before)


def test_overflow_of_the_mean_is_found_too():
    """Equal samples have no covariance, however large; their Gram matrix overflows all the same."""
    seen = gathered([[[1e200]], [[1e200]]], 1)
    with pytest.raises(ValueError, match="small enough"):
        _ = seen.gram


@pytest.mark.parametrize("dtype", [np.float16, np.int8, np.float32])
def test_wanda_leaves_narrow_types(dtype):
    """In float16 these products are infinite, and all alike."""
    w = np.array([[100, -120]], dtype)
    scores = saliency.wanda(w, np.array([900.0, 1000.0], np.float32).astype(np.float16))
    assert scores.dtype == np.float32
    assert scores.tolist() == [[90000.0, 120000.0]]


def test_wanda_that_overflows_is_refused():
    with pytest.raises(ValueError, match="w times x_norm must be finite, got inf"):
        saliency.wanda(np.array([[1e30]], np.float32), np.array([1e30], np.float32))
