"""A pattern for each leaf, by paths and wildcards, as `allocate` finds them."""

from __future__ import annotations

import numpy as np
import pytest

jax = pytest.importorskip("jax")

import masksolve as ms  # noqa: E402
from masksolve.adapters import jax as mj  # noqa: E402


def params() -> dict[str, dict[str, jax.Array]]:
    keys = iter(jax.random.split(jax.random.key(0), 3))
    return {name: {"kernel": jax.random.normal(next(keys), (16, 32))} for name in "abc"}


def test_the_first_path_that_fits_counts() -> None:
    patterns = {"a/*": "2:4", "b/kernel": "dense", "*": "4:8-T"}
    masks = mj.mask_tree(params(), patterns)
    assert np.array_equal(masks["a"]["kernel"], mj.mask(params()["a"]["kernel"], "2:4"))
    assert masks["b"]["kernel"].shape == ()
    assert np.array_equal(masks["c"]["kernel"], mj.mask(params()["c"]["kernel"], "4:8-T"))
    skipped = [choice.skipped for choice in mj.choose(params(), patterns)]
    assert skipped == ["", "is 'dense' in pattern=", ""]


def test_what_allocate_finds_is_taken_as_it_is() -> None:
    weights = {f"{name}/kernel": np.asarray(leaf["kernel"]) for name, leaf in params().items()}
    found = ms.allocate(weights, "2:8", sparsity=0.6, score="magnitude")
    masks = mj.mask_tree(params(), found.patterns)
    for path, pattern in found.patterns.items():
        assert ms.verify(np.asarray(masks[path[0]]["kernel"]), pattern).ok


def test_one_pattern_may_count_its_axis_from_the_front() -> None:
    assert [choice.skipped for choice in mj.choose(params(), "2:4 axis=0")] == ["", "", ""]


def test_refusals() -> None:
    with pytest.raises(ValueError, match="pattern: 'nowhere' matches no leaf"):
        mj.mask_tree(params(), {"nowhere": "2:4"})
    with pytest.raises(ValueError, match="pattern must be one pattern, since the state"):
        mj.sparsify({"*": "2:4"})
