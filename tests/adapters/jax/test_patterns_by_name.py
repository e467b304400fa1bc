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


@pytest.mark.parametrize("jit", [True, False])
def test_training_with_a_pattern_for_each_leaf(jit: bool) -> None:
    patterns = {"a/*": "2:8-T", "b/kernel": "dense", "*": "4:8"}
    shares = [1.0, 0.75, 0.5, 0.25, 0.25]
    sparsifier = mj.sparsify(patterns, refresh_every=1, density=lambda step: shares[step])
    tree = params()
    state = sparsifier.init(tree)
    update = jax.jit(sparsifier.update) if jit else sparsifier.update
    for step in range(4):
        _, state = update(jax.tree.map(jax.numpy.zeros_like, tree), state, tree)
        share = shares[step + 1]
        assert {path: int(n) for path, n in state.priced.items()} == {
            "a/kernel": 8 * share,
            "c/kernel": max(4, 8 * share),
        }
        wanted = ms.solve(np.abs(tree["a"]["kernel"]), f"{int(8 * share)}:8-T", backend="highs").mask
        assert np.array_equal(state.masks["a"]["kernel"], wanted)
    assert state.masks["b"]["kernel"].shape == ()
    assert list(state.prices) == ["a/kernel"]
    final = sparsifier.finalize(tree, state)
    assert ms.verify(np.asarray(final["a"]["kernel"]), "2:8-T").ok
    assert ms.verify(np.asarray(final["c"]["kernel"]), "4:8").ok
    assert np.array_equal(final["b"]["kernel"], tree["b"]["kernel"])


def test_vectors_train_beside_other_patterns() -> None:
    sparsifier = mj.sparsify({"a/*": "8:2:8", "*": "2:4-T"}, refresh_every=1)
    state = sparsifier.init(params())
    assert ms.verify(np.asarray(state.masks["a"]["kernel"]), "8:2:8").ok
    assert ms.verify(np.asarray(state.masks["c"]["kernel"]), "2:4-T").ok


def test_refusals() -> None:
    for call in (mj.mask_tree, mj.choose, lambda tree, pattern: mj.sparsify(pattern).init(tree)):
        with pytest.raises(ValueError, match="pattern: 'nowhere' matches no weight of two axes or more"):
            call(params(), {"*": "2:4", "nowhere": "2:4"})
    with pytest.raises(ValueError, match="pattern must name a layer to prune"):
        mj.sparsify({"*": "dense"})
    ramp = mj.sparsify({"a/*": "8:2:8", "*": "2:4"}, refresh_every=1, density=lambda step: 0.75)
    with pytest.raises(ValueError, match="pattern must have an n that can grow, got '8:2:8'"):
        ramp.init(params())
