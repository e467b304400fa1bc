"""Flax's models, made small: every masked kernel follows the pattern along the axes that products sum over.

What is summed is read from the traced program, which knows of no layers and no planes.
"""

import numpy as np
import pytest

jax = pytest.importorskip("jax")
linen = pytest.importorskip("flax.linen", reason="needs flax: pip install 'masksolve[flax-test]'")
nnx = pytest.importorskip("flax.nnx")

import jax.numpy as jnp  # noqa: E402

from masksolve.adapters import jax as mj  # noqa: E402
from masksolve.adapters.plane import Plane  # noqa: E402

TOKENS = jnp.arange(8).reshape(1, 8)
STATES = jnp.sin(jnp.arange(128.0)).reshape(1, 8, 16)


def contracted(function, params):
    """By the paths of leaves: the kernel with what a product sums over as its last axis."""
    program = jax.make_jaxpr(function)(params)
    leaves = jax.tree.flatten_with_path(params)[0]
    named = zip(program.jaxpr.invars, leaves, strict=True)
    inputs = {variable: (name(keys), np.asarray(leaf)) for variable, (keys, leaf) in named}
    return dict(seen(program.jaxpr, inputs))


def name(keys):
    return jax.tree_util.keystr(keys, simple=True, separator="/").removesuffix("/value")


def seen(program, inputs):
    for equation in program.eqns:
        for inner in programs_in(equation.params):
            outer = dict(zip(inner.invars, equation.invars, strict=False))
            yield from seen(inner, {v: inputs[o] for v, o in outer.items() if known(o, inputs)})
        for place, operand in enumerate(equation.invars):
            if known(operand, inputs) and equation.primitive.name in SUMMED:
                path, kernel = inputs[operand]
                axes = SUMMED[equation.primitive.name](equation.params, place)
                ends = tuple(range(-len(axes), 0))
                moved = np.moveaxis(kernel, axes, ends)
                yield path, moved.reshape(*moved.shape[: -len(axes)], -1)


def programs_in(params):
    """Programs that an equation calls, such as that of a function under jit."""
    for value in params.values():
        inner = getattr(value, "jaxpr", value)
        if hasattr(inner, "eqns"):
            yield inner


def known(operand, inputs):
    return not hasattr(operand, "val") and operand in inputs  # a literal has a value, and no hash


SUMMED = {
    "dot_general": lambda params, place: params["dimension_numbers"][0][place],
    "conv_general_dilated": lambda params, place: (params["dimension_numbers"].rhs_spec[1],),
}


class Linen(linen.Module):
    @linen.compact
    def __call__(self, tokens):
        x = linen.Embed(16, 16)(tokens)
        x = linen.MultiHeadDotProductAttention(num_heads=2, qkv_features=16)(x)
        x = linen.ConvTranspose(16, (2,))(linen.Conv(32, (3,))(linen.Dense(16)(x)))
        return linen.DenseGeneral(16, axis=(-2, -1), name="narrow")(
            linen.DenseGeneral((2, 8), name="wide")(x)
        )


class Nnx(nnx.Module):
    def __init__(self, rngs):
        heads = {"num_heads": 4, "in_features": 16, "qkv_features": 32, "decode": False}
        self.attention = nnx.MultiHeadAttention(**heads, rngs=rngs)
        self.conv = nnx.Conv(16, 24, (3,), rngs=rngs)
        self.dense = nnx.Linear(24, 16, rngs=rngs)

    def __call__(self, x):
        return self.dense(self.conv(self.attention(x)))


def of_linen():
    model = Linen()
    return (lambda params: model.apply(params, TOKENS)), model.init(jax.random.key(0), TOKENS)


def of_nnx():
    graph, params, rest = nnx.split(Nnx(nnx.Rngs(0)), nnx.Param, ...)
    return (lambda params: nnx.merge(graph, params, rest)(STATES)), params


PLANES = {"*/wide/kernel": Plane(0, (1, 2)), "*/narrow/kernel": Plane((0, 1), 2)}
MODELS = pytest.mark.parametrize(("make", "planes", "count"), [(of_linen, PLANES, 9), (of_nnx, None, 6)])


@MODELS
@pytest.mark.parametrize("pattern", ["2:4 axis=-2", "2:4"])
def test_products_sum_over_groups_that_follow_the_pattern(make, planes, count, pattern):
    """Products follow 2:4 along inputs; masks along outputs show that the check can fail."""
    apply, params = make()
    sparsifier = mj.sparsify(pattern, planes=planes)
    masked = {choice.path for choice in sparsifier.choices(params) if not choice.skipped}
    kernels = contracted(apply, sparsifier.finalize(params, sparsifier.init(params)))
    assert len(masked) == count
    assert masked <= set(kernels)
    most = {path: int((kernels[path].reshape(-1, 4) != 0).sum(-1).max()) for path in masked}
    if pattern == "2:4 axis=-2":
        assert set(most.values()) == {2}
    else:
        assert min(most.values()) > 2


@MODELS
def test_every_leaf_of_two_axes_is_reported(make, planes, count):
    _, params = make()
    leaves = jax.tree.flatten_with_path(params)[0]
    choices = mj.choose(params, "2:4 axis=-2", planes=planes)
    assert {choice.path for choice in choices} == {name(keys) for keys, leaf in leaves if jnp.ndim(leaf) > 1}
    assert sum(not choice.skipped for choice in choices) == count
