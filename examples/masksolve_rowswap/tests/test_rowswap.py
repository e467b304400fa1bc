"""The kit checks what every backend must hold; what is particular to this one is checked beside it."""

import numpy as np
import pytest

import masksolve as ms
from masksolve.testing import check_backend


def test_conformance():
    """It conforms, and runs what it says it runs."""
    outcome = check_backend("rowswap")
    assert "2:4" in outcome.refused
    assert "4:8-T" not in outcome.refused


@pytest.mark.parametrize("pattern", ["1:4-T", "2:4-T", "4:8-T", "5:16-T"])
def test_guarantee(pattern):
    """The start keeps its share, and in the end no exchange of two rows gains."""
    pattern = ms.Pattern.parse(pattern)
    scores = np.random.default_rng(0).exponential(size=(20, pattern.m, pattern.m))
    start, result = (ms.solve(scores, pattern, backend="rowswap", rounds=rounds) for rounds in (0, 1000))
    assert start.objective >= pattern.density * scores.sum()
    assert start.objective < result.objective <= result.bound
    for tile, mask in zip(scores, result.mask, strict=True):
        for one, other in np.ndindex(pattern.m, pattern.m):
            rows = np.arange(pattern.m)
            rows[[one, other]] = other, one
            assert tile[mask[rows]].sum() <= tile[mask].sum() + 1e-9


def test_rounds_must_not_be_negative():
    """A bad value of an option is named."""
    with pytest.raises(ValueError, match="rounds must not be negative, got -1"):
        ms.solve(np.eye(4), "1:4-T", backend="rowswap", rounds=-1)
