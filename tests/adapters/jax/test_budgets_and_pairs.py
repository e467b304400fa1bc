"""Mixed budgets and pairs in the JAX adapter, inside jit and through a training transformation."""

import numpy as np
import pytest

import masksolve as ms

jax = pytest.importorskip("jax")

import jax.numpy as jnp  # noqa: E402

from masksolve.adapters import jax as mj  # noqa: E402


@pytest.mark.parametrize("text", ["2:4 x 4:8", "4:8-T pair", "4:8 pair", "2:4 x 6:8 at_most"])
def test_masks_follow_the_pattern(text):
    weights = jnp.asarray(np.random.default_rng(0).standard_normal((16, 32)), jnp.float32)
    mask = jax.jit(lambda w: mj.mask(w, text))(weights)
    assert ms.verify(np.asarray(mask), text).ok
    sparsifier, params = mj.sparsify(text, refresh_every=1), {"kernel": weights}
    state = sparsifier.init(params)
    for _ in range(2):  # the second masks start from the first ones' prices
        _, state = sparsifier.update(params, state, params)
    assert ms.verify(np.asarray(state.masks["kernel"]), text).ok
    assert [price.shape[1] for price in state.prices.get("kernel", ())] in ([], [*ms.Pattern(text).lines])
