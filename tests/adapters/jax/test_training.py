"""Sparse training beside optax, with Flax's linen and nnx, which come with the extra ``flax-test``."""

import pickle

import numpy as np
import pytest

import masksolve as ms
from masksolve.adapters.plane import Plane

jax = pytest.importorskip("jax")
optax = pytest.importorskip("optax", reason="needs optax: pip install 'masksolve[flax-test]'")

import jax.numpy as jnp  # noqa: E402

from masksolve.adapters import jax as mj  # noqa: E402

STEPS = 6


def perceptron(seed=0):
    keys = jax.random.split(jax.random.key(seed), 3)
    widths = ((16, 32), (32, 24), (24, 16))
    layers = zip(keys, widths, strict=True)
    return {
        f"Dense_{n}": {"kernel": jax.random.normal(key, shape) / 4, "bias": jnp.zeros(shape[1])}
        for n, (key, shape) in enumerate(layers)
    }


def predict(params, x):
    for n in range(3):
        layer = params[f"Dense_{n}"]
        x = jnp.tanh(x @ layer["kernel"] + layer["bias"])
    return x


def ramp(step):
    return max(0.5, 1 - step / 8)


def stepper(optimizer, sparsifier, jit=True):
    def loss(params, state, x):
        return jnp.mean((predict(sparsifier.effective(params, state), x) - jnp.sin(x)) ** 2)

    def step(params, state, x):
        gradients = jax.grad(loss)(params, state, x)
        updates, state = optimizer.update(gradients, state, params)
        return optax.apply_updates(params, updates), state

    return jax.jit(step) if jit else step


def batch(step):
    return jax.random.normal(jax.random.key(step), (8, 16))


def train(params, state, step, first=0, last=STEPS):
    for number in range(first, last):
        params, state = step(params, state, batch(number))
    return params, state


def trees_equal(one, other):
    return jax.tree.all(jax.tree.map(lambda a, b: bool(jnp.array_equal(a, b)), one, other))


@pytest.mark.parametrize("pattern", ["4:8-T", "2:4 axis=-2", "2:4-T"])
@pytest.mark.parametrize("jit", [True, False])
def test_masks_follow_the_weights(pattern, jit):
    sparsifier = mj.sparsify(pattern, refresh_every=2, decay=1e-3)
    optimizer = optax.chain(optax.adam(1e-2), sparsifier)
    params = perceptron()
    state = optimizer.init(params)
    step = stepper(optimizer, sparsifier, jit)
    for number in range(STEPS):
        before = state[-1].masks
        params, state = step(params, state, batch(number))
        if number % 2 == 0:
            assert trees_equal(state[-1].masks, before)
            continue
        for name, layer in params.items():  # the best for the weights after the step
            size, kept = np.abs(layer["kernel"]), np.asarray(state[-1].masks[name]["kernel"])
            assert ms.verify(kept, pattern).ok
            assert size[kept].sum() == pytest.approx(
                ms.solve(size, pattern, backend="highs").objective, rel=1e-5
            )
    final = sparsifier.finalize(params, state)
    assert all(ms.verify(np.asarray(layer["kernel"]) != 0, pattern).ok for layer in final.values())


def test_a_resumed_training_ends_as_an_unbroken_one():
    sparsifier = mj.sparsify("4:8-T", refresh_every=2, decay=1e-3, density=ramp)
    optimizer = optax.chain(optax.sgd(0.1, momentum=0.9), sparsifier)
    step, params = stepper(optimizer, sparsifier), perceptron()
    whole = train(params, optimizer.init(params), step)
    stopped = train(params, optimizer.init(params), step, last=3)
    leaves, structure = jax.tree.flatten(stopped)
    saved = pickle.loads(pickle.dumps([np.asarray(leaf) for leaf in leaves]))
    resumed = train(*jax.tree.unflatten(structure, [jnp.asarray(each) for each in saved]), step, first=3)
    assert trees_equal(resumed, whole)


def test_a_ramp_goes_down_and_must_end():
    sparsifier = mj.sparsify("4:8-T", refresh_every=1, density=ramp)
    optimizer = optax.chain(optax.sgd(0.1), sparsifier)
    step, params = stepper(optimizer, sparsifier), perceptron()
    state = optimizer.init(params)
    shares = []
    for number in range(4):
        shares.append(float(state[-1].masks["Dense_1"]["kernel"].mean()))
        params, state = step(params, state, batch(number))
    assert shares == [1.0, 0.875, 0.75, 0.625]
    assert {int(n) for n in state[-1].priced.values()} == {4}
    early = mj.sparsify("3:8-T", refresh_every=1, density=ramp)
    with pytest.raises(
        ms.PatternViolationError, match="the mask of 'Dense_0/kernel' must follow '3:8-T' by now"
    ):
        early.finalize(params, state)
    assert sparsifier.finalize(params, state)["Dense_0"]["kernel"].astype(bool).mean() == 0.5
    assert (
        early.finalize(params, state, allow_unfinished=True)["Dense_0"]["kernel"].astype(bool).mean() == 0.5
    )


def test_gradients_pass_straight_through_with_decay():
    params = {"kernel": jax.random.normal(jax.random.key(0), (8, 8))}
    weights = jax.random.normal(jax.random.key(1), (8, 8))

    def gradient(sparsifier, params):
        state = sparsifier.init(params)
        loss = lambda params: jnp.sum(sparsifier.effective(params, state)["kernel"] * weights)  # noqa: E731
        return jax.grad(loss)(params)["kernel"], state.masks["kernel"]

    decayed, kept = gradient(mj.sparsify("2:4-T", refresh_every=1, decay=0.5), params)
    expected = weights + jnp.where(kept, 0, 0.5 * params["kernel"])
    assert jnp.array_equal(decayed, expected)
    through, _ = gradient(mj.sparsify("2:4-T", refresh_every=1), params)
    assert jnp.array_equal(through, weights)
    static, kept = gradient(mj.sparsify("2:4-T"), params)
    assert jnp.array_equal(static, jnp.where(kept, weights, 0))


def test_linen_attention_is_masked_along_its_inputs():
    linen = pytest.importorskip("flax.linen")

    class Model(linen.Module):
        @linen.compact
        def __call__(self, tokens):
            x = linen.Embed(16, 8)(tokens)
            x = linen.MultiHeadDotProductAttention(num_heads=2, qkv_features=8)(x)
            x = linen.Conv(8, (3,))(x)
            x = linen.DenseGeneral((2, 8), name="wide")(x)
            return linen.DenseGeneral(16, axis=(-2, -1), name="narrow")(x)

    model, tokens = Model(), jnp.arange(8).reshape(1, 8)
    params = model.init(jax.random.key(0), tokens)
    sparsifier = mj.sparsify(
        "2:4 axis=-2", planes={"*/wide/kernel": Plane(0, (1, 2)), "*/narrow/kernel": Plane((0, 1), 2)}
    )
    choices = {choice.path: choice for choice in sparsifier.choices(params)}
    assert {path for path, choice in choices.items() if choice.skipped} == {
        path for path, choice in choices.items() if path.endswith(("bias", "embedding"))
    }
    sparse = sparsifier.finalize(params, sparsifier.init(params))["params"]
    attention = sparse["MultiHeadDotProductAttention_0"]
    for name in ("query", "key", "value"):  # (inputs, heads, features)
        assert ms.verify(np.asarray(attention[name]["kernel"]).reshape(8, 8) != 0, "2:4 axis=-2").ok
    assert ms.verify(np.asarray(attention["out"]["kernel"]).reshape(8, 8) != 0, "2:4 axis=-2").ok
    assert ms.verify(np.asarray(sparse["Conv_0"]["kernel"]) != 0, "2:4 axis=-2").ok
    assert ms.verify(np.asarray(sparse["wide"]["kernel"]).reshape(8, 16) != 0, "2:4 axis=-2").ok
    assert ms.verify(np.asarray(sparse["narrow"]["kernel"]).reshape(16, 16) != 0, "2:4 axis=-2").ok
    assert jnp.array_equal(sparse["Embed_0"]["embedding"], params["params"]["Embed_0"]["embedding"])
    unknown = {choice.path: choice.skipped for choice in mj.choose(params, "2:4 axis=-2")}
    assert "planes= says which" in unknown["params/wide/kernel"]
    with pytest.raises(ValueError, match="w has three axes"):
        mj.mask_tree(params, "2:4 axis=-2")
    # Dense and masked products agree where the plane says they contract.
    x = jax.random.normal(jax.random.key(1), (8,))
    kernel = attention["query"]["kernel"]
    by_plane = x @ Plane(0, (1, 2)).matrices(kernel)
    assert jnp.allclose(jnp.einsum("d,dhk->hk", x, kernel).ravel(), by_plane, atol=1e-6)


def test_nnx_learns_under_masks():
    nnx = pytest.importorskip("flax.nnx")
    model = nnx.MultiHeadAttention(
        num_heads=2, in_features=16, qkv_features=16, decode=False, rngs=nnx.Rngs(0)
    )
    graph, params, rest = nnx.split(model, nnx.Param, ...)
    sparsifier = mj.sparsify("4:8-T", refresh_every=1, decay=1e-4)
    optimizer = optax.chain(optax.adam(1e-2), sparsifier)
    state = optimizer.init(params)
    x = jax.random.normal(jax.random.key(0), (2, 4, 16))

    @jax.jit
    def step(params, state):
        def loss(params):
            return jnp.mean((nnx.merge(graph, sparsifier.effective(params, state), rest)(x) - x) ** 2)

        value, gradients = jax.value_and_grad(loss)(params)
        updates, state = optimizer.update(gradients, state, params)
        return optax.apply_updates(params, updates), state, value

    losses = []
    for _ in range(20):
        params, state, value = step(params, state)
        losses.append(float(value))
    assert losses[-1] < losses[0]
    final = nnx.merge(graph, sparsifier.finalize(params, state), rest)
    for name, shape in (("query", (16, 16)), ("value", (16, 16)), ("out", (16, 16))):
        kernel = np.asarray(getattr(final, name).kernel[...]).reshape(shape)
        assert ms.verify(kernel != 0, "4:8-T").ok


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"refresh_every": 0}, ValueError, "refresh_every must be at least 1"),
        ({"decay": -1.0}, ValueError, "decay must be at least 0"),
        ({"decay": 0.1}, ValueError, "dynamic masks only"),
        ({"density": 0.5, "refresh_every": 1}, TypeError, "density must be callable, got 0.5"),
        ({"pattern": "2:4 axis=0"}, ValueError, "axis must be -1"),
    ],
)
def test_wrong_arguments_are_refused(options, error, message):
    with pytest.raises(error, match=message):
        mj.sparsify(**{"pattern": "2:4", **options})


def test_wrong_trees_are_refused():
    sparsifier = mj.sparsify("2:4")
    with pytest.raises(ValueError, match="params must have a leaf to mask to '2:4': 'a' has 5 entries"):
        sparsifier.init({"a": jnp.ones((4, 5))})
    state = sparsifier.init({"a": jnp.ones((4, 4))})
    with pytest.raises(ValueError, match=r"params must be given to update\(\)"):
        sparsifier.update({"a": jnp.ones((4, 4))}, state)
    with pytest.raises(ValueError, match="one SparsifyState, got 0"):
        sparsifier.effective({}, ())
    with pytest.raises(ValueError, match=r"planes: 'b' matches no leaf"):
        mj.choose({"a": jnp.ones((4, 4))}, "2:4", planes={"b": Plane()})
