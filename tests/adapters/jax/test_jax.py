"""masksolve.adapters.jax: masks eager and inside jit, vmap, grad and scan, and of parameter trees."""

import os
import subprocess
import sys
from functools import partial

import numpy as np
import pytest
from assertions import assert_feasible

import masksolve as ms
from masksolve.testing import FAMILIES

jax = pytest.importorskip("jax")

import jax.numpy as jnp  # noqa: E402

from masksolve.adapters import jax as mj  # noqa: E402

PATTERN = "4:8-T"
mask = partial(mj.mask, pattern=PATTERN)


def gaussian(*shape: int, seed: int = 0) -> "jax.Array":
    return jnp.asarray(np.random.default_rng(seed).standard_normal(shape or (16, 24), np.float32))


def kept(w: "jax.Array", found: "jax.Array") -> float:
    return float(np.abs(np.asarray(w, np.float64))[np.asarray(found)].sum())


def assert_best(found: "jax.Array", w: "jax.Array", pattern: str = PATTERN) -> None:
    """The mask is feasible and keeps what a solve of NumPy's |w| keeps."""
    assert isinstance(found, jax.Array)
    assert found.shape == w.shape
    assert found.dtype == bool
    best = ms.solve(ms.saliency.magnitude(np.asarray(w)), pattern)
    assert_feasible(np.asarray(found), best.pattern)
    assert kept(w, found) == pytest.approx(best.objective, rel=1e-6)


CALLS = {
    "eager": lambda solve, w: solve(w),
    "jit": lambda solve, w: jax.jit(solve)(w),
    "vmap": lambda solve, w: jax.vmap(solve)(w),
    "jit_of_vmap": lambda solve, w: jax.jit(jax.vmap(solve, in_axes=-1))(jnp.moveaxis(w, 0, -1)),
    "vmap_of_jit": lambda solve, w: jnp.moveaxis(jax.vmap(jax.jit(solve), out_axes=1)(w), 1, 0),
    "scan": lambda solve, w: jax.lax.scan(lambda carry, x: (carry, solve(x)), 0, w)[1],
    "map": jax.lax.map,
}


@pytest.mark.parametrize("call", CALLS)
@pytest.mark.parametrize("pattern", [PATTERN, "2:4", "2:4 axis=-2", "2:4 axis=0 pad", "5:8-T at_most dense"])
def test_every_way_of_calling_finds_the_best(call: str, pattern: str) -> None:
    w = gaussian(3, 16, 24)
    if call in ("eager", "jit") and "axis=0" in pattern:
        w = w[0]  # the others add or take away an axis in front
    found = CALLS[call](partial(mj.mask, pattern=pattern), w)
    assert_best(found, w, pattern.replace("axis=0", "axis=-2"))


SHARDED = """
import jax, numpy as np, masksolve as ms
from masksolve.adapters import jax as mj
w = np.random.default_rng(0).standard_normal((16, 24), np.float32)
place = jax.NamedSharding(jax.make_mesh((2,), ("x",)), jax.P("x"))
sharded = jax.device_put(w, place)
solve = lambda w: mj.mask(w, "4:8-T")
in_place = jax.jit(jax.shard_map(solve, mesh=place.mesh, in_specs=jax.P("x"), out_specs=jax.P("x")))(sharded)
best = ms.solve(abs(w), "4:8-T").objective
for mask in (in_place, solve(sharded), ms.solve(abs(sharded), "4:8-T").mask):
    assert mask.sharding.is_equivalent_to(place, 2), mask.sharding
    assert ms.verify(mask, "4:8-T").ok
    assert abs(abs(w)[np.asarray(mask)].sum(dtype=float) - best) < 1e-9 * best
auto = jax.NamedSharding(jax.make_mesh((2,), ("x",), axis_types=(jax.sharding.AxisType.Auto,)), jax.P("x"))
gathered = jax.jit(solve)(jax.device_put(w, auto))
assert len(gathered.devices()) == 1 or gathered.is_fully_replicated, gathered.sharding
assert ms.verify(gathered, "4:8-T").ok
"""


def test_shards_on_two_devices() -> None:
    flags = {"JAX_PLATFORMS": "cpu", "XLA_FLAGS": "--xla_force_host_platform_device_count=2"}
    ran = subprocess.run(
        [sys.executable, "-c", SHARDED], env=os.environ | flags, check=False, capture_output=True, text=True
    )
    assert ran.returncode == 0, ran.stderr


@pytest.mark.parametrize("family", FAMILIES)
def test_jit_keeps_as_much_as_numpy_on_every_family(family: str) -> None:
    scores = FAMILIES[family](np.random.default_rng(0), (16, 24))
    with jax.enable_x64(True):
        assert_best(jax.jit(mask)(jnp.asarray(scores)), jnp.asarray(scores))


DTYPES = ["bool", "int8", "int16", "int32", "uint8", "uint16", "uint32", "float16", "bfloat16", "float32"]


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("call", ["eager", "jit"])
def test_dtypes(dtype: str, call: str) -> None:
    w = (8 * jnp.abs(gaussian())).astype(dtype)
    if dtype.startswith("int"):
        w = (-w).at[0, 0].set(jnp.iinfo(dtype).min)
    found = CALLS[call](mask, w)
    assert_best(found, w)
    if dtype.startswith("int"):
        assert found[0, 0]


@pytest.mark.parametrize("call", ["eager", "jit"])
def test_double_precision(call: str) -> None:
    with jax.enable_x64(True):
        w = 1 + 1e-9 * gaussian(16, 24).astype("float64")
        assert_best(CALLS[call](mask, w), w)


def test_arrays_of_numpy_and_lists_become_arrays_of_jax() -> None:
    assert_best(mask(np.asarray(gaussian())), gaussian())
    assert mj.mask([[3.0, -1.0], [2.0, -5.0]], "1:2-T").tolist() == [[True, False], [False, True]]


def test_backends_and_workers_are_passed_on() -> None:
    w = gaussian()
    greedy = ms.solve(np.abs(np.asarray(w)), PATTERN, backend="greedy").objective
    for call in ("eager", "jit"):
        assert kept(w, CALLS[call](partial(mask, backend="greedy"), w)) == pytest.approx(greedy, rel=1e-6)
        assert_best(CALLS[call](partial(mask, workers=2), w), w)


def loss(w: "jax.Array") -> "jax.Array":
    return jnp.sum((w * mask(w)) ** 2)


@pytest.mark.parametrize(
    "gradient",
    [
        jax.grad(loss),
        jax.jit(jax.grad(loss)),
        jax.grad(jax.jit(loss)),
        jax.grad(jax.checkpoint(loss)),
        lambda w: jax.vmap(jax.grad(loss))(w[None])[0],
        jax.jacfwd(loss),
        jax.grad(lambda w: jax.lax.scan(lambda sum, x: (sum + loss(x), None), 0.0, w[None])[0]),
    ],
    ids=["grad", "jit_of_grad", "grad_of_jit", "checkpoint", "vmap", "jacfwd", "scan"],
)
def test_gradients_pass_by_the_mask(gradient) -> None:
    w = gaussian(8, 8)
    np.testing.assert_allclose(gradient(w), jnp.where(mask(w), 2 * w, 0), rtol=1e-6)


def test_hessian() -> None:
    w = gaussian(8, 8)
    hessian = jax.hessian(loss)(w).reshape(64, 64)
    np.testing.assert_allclose(hessian, 2 * np.diag(np.asarray(mask(w), np.float32).ravel()), atol=1e-6)


def test_a_batch_under_vmap_is_one_solve(monkeypatch: pytest.MonkeyPatch) -> None:
    shapes, solve = [], ms.solve

    def watched(scores, *args, **options):
        shapes.append(scores.shape)
        return solve(scores, *args, **options)

    monkeypatch.setattr(ms, "solve", watched)
    w = gaussian(2, 3, 8, 16)
    found = jax.vmap(jax.vmap(mask))(w)
    assert [shape for shape in shapes if 0 not in shape] == [(2, 3, 8, 16)]
    monkeypatch.undo()
    assert_best(found, w)


def params(seed: int = 0) -> dict:
    return {
        "Conv_0": {"kernel": gaussian(3, 3, 8, 16, seed=seed), "bias": jnp.zeros(16)},
        "Dense_0": {"kernel": gaussian(16, 24, seed=seed + 1), "bias": jnp.zeros(24)},
        "head": [gaussian(24, 8, seed=seed + 2), None],
        "steps": jnp.zeros((8, 8), int),
    }


@pytest.mark.parametrize("call", ["eager", "jit"])
def test_trees(call: str) -> None:
    masks = CALLS[call](partial(mj.mask_tree, pattern=PATTERN), params())
    assert jax.tree.structure(masks) == jax.tree.structure(params())
    assert_best(masks["Conv_0"]["kernel"], params()["Conv_0"]["kernel"])
    assert_best(masks["Dense_0"]["kernel"], params()["Dense_0"]["kernel"])
    assert_best(masks["head"][0], params()["head"][0])
    for whole in (masks["Conv_0"]["bias"], masks["Dense_0"]["bias"], masks["steps"]):
        assert (whole.shape, whole.dtype, bool(whole)) == ((), bool, True)


def test_every_place_of_a_convolution_is_a_matrix() -> None:
    kernel = params()["Conv_0"]["kernel"]
    found = mj.mask(kernel, "2:4 axis=-2")  # groups along the inputs of (*kernel, inputs, outputs)
    for place in np.ndindex(3, 3):
        assert (np.asarray(found[place]).reshape(2, 4, 16).sum(axis=1) == 2).all()
        assert_best(found[place].T, kernel[place].T, "2:4")


def test_where_chooses_by_path_and_leaf() -> None:
    seen = []

    def where(path: str, leaf: "jax.Array") -> bool:
        seen.append((path, leaf.shape))
        return path.endswith("kernel") and leaf.ndim == 2

    masks = mj.mask_tree(params(), PATTERN, where=where, backend="greedy")
    assert seen == [
        ("Conv_0/bias", (16,)),
        ("Conv_0/kernel", (3, 3, 8, 16)),
        ("Dense_0/bias", (24,)),
        ("Dense_0/kernel", (16, 24)),
        ("head/0", (24, 8)),
        ("steps", (8, 8)),
    ]
    assert [leaf.ndim for leaf in jax.tree.leaves(masks)] == [0, 0, 0, 2, 0, 0]


@pytest.mark.parametrize("call", ["eager", "jit"])
def test_applied_masks_set_zeros_and_nothing_else(call: str) -> None:
    tree = params() | {"half": gaussian(8, 8).astype(jnp.bfloat16), "key": jax.random.key(0)}
    masks = mj.mask_tree(tree, PATTERN)
    applied = CALLS[call](lambda tree: mj.apply(tree, masks), tree)
    assert jax.tree.map(jnp.shape, applied) == jax.tree.map(jnp.shape, tree)
    assert [leaf.dtype for leaf in jax.tree.leaves(applied)] == [leaf.dtype for leaf in jax.tree.leaves(tree)]
    for path in (("Conv_0", "kernel"), ("Dense_0", "kernel"), ("head", 0)):
        before, after, chosen = (part[path[0]][path[1]] for part in (tree, applied, masks))
        np.testing.assert_array_equal(after, np.where(chosen, before, 0))
    np.testing.assert_array_equal(applied["Dense_0"]["bias"], tree["Dense_0"]["bias"])


def test_infinite_weights_that_are_not_kept_become_zero() -> None:
    assert mj.apply(jnp.array([jnp.inf, 1.0]), jnp.array([False, True])).tolist() == [0.0, 1.0]


def test_training_under_jit() -> None:
    inputs, truth = gaussian(64, 16, seed=5), gaussian(16, 8, seed=6)
    targets = inputs @ mj.apply(truth, mask(truth))

    def cost(weights: dict, masks: dict) -> "jax.Array":
        sparse = mj.apply(weights, masks)
        return jnp.mean((inputs @ sparse["kernel"] + sparse["bias"] - targets) ** 2)

    @jax.jit
    def step(weights: dict) -> tuple[dict, "jax.Array"]:
        masks = mj.mask_tree(weights, PATTERN)  # found anew in every step
        value, gradient = jax.value_and_grad(cost)(weights, masks)
        return jax.tree.map(lambda w, g: w - g, weights, gradient), value

    weights = {"kernel": truth + 0.3 * gaussian(16, 8, seed=7), "bias": jnp.zeros(8)}
    costs = []
    for _ in range(40):
        weights, value = step(weights)
        costs.append(float(value))
    assert costs[-1] < 0.01 * costs[0]
    assert ms.verify(mj.mask_tree(weights, PATTERN)["kernel"], PATTERN).ok


WRONG = {
    "shape": (
        lambda: gaussian(16, 20),
        {},
        ValueError,
        "has 20 entries along axis -1, which m=8",
    ),
    "axes": (lambda: gaussian(16), {}, ValueError, "2 to 61 axes"),
    "complex": (lambda: gaussian().astype(complex), {}, TypeError, "real numbers .*complex64"),
    "float8": (lambda: gaussian().astype("float8_e4m3fn"), {}, TypeError, "real numbers .*float8_e4m3fn"),
    "n": (gaussian, {"pattern": "9:8"}, ValueError, "n must be between 1 and m=8"),
    "pattern": (gaussian, {"pattern": 4}, TypeError, "pattern must be a Pattern or a string"),
    "axis": (gaussian, {"pattern": "2:4 axis=2"}, ValueError, "has no axis 2, along which"),
    "workers": (gaussian, {"workers": 0}, ValueError, "workers must be at least 1"),
    "backend": (gaussian, {"backend": "best"}, ValueError, "backend must be one of"),
    "refused": (gaussian, {"backend": "enumerate"}, ms.BackendRefusedError, "enumerate"),
}


@pytest.mark.parametrize("what", WRONG)
@pytest.mark.parametrize("call", ["eager", "trace"])
def test_wrong_arguments_are_refused(what: str, call: str) -> None:
    make, options, error, message = WRONG[what]
    solve = partial(mj.mask, **{"pattern": PATTERN, **options})
    with pytest.raises(error, match=message):
        solve(make()) if call == "eager" else jax.eval_shape(solve, make())


def test_what_only_values_show_is_refused_in_the_running_code() -> None:
    w = gaussian().at[3, 5].set(jnp.nan)
    with pytest.raises(ValueError, match=r"scores must be finite, got nan at index \[3, 5\]"):
        mask(w)
    with pytest.raises(Exception, match=r"scores must be finite, got nan at index \[3, 5\]"):
        jax.jit(mask)(w).block_until_ready()


def test_wrong_trees_are_refused() -> None:
    with pytest.raises(ValueError, match=r"where must choose a leaf of params .*'head/0'"):
        mj.mask_tree(params(), PATTERN, where=lambda path, leaf: False)
    with pytest.raises(TypeError, match="where must be callable"):
        mj.mask_tree(params(), PATTERN, where="kernel")
    for solve in (partial(mj.mask_tree, pattern="4:16-T"), jax.jit(partial(mj.mask_tree, pattern="4:16-T"))):
        with pytest.raises(ValueError, match="m=16 does not divide") as caught:
            solve(params())
        assert "in the leaf 'Conv_0/kernel' of params; where= can leave it out" in caught.value.__notes__
    with pytest.raises(ValueError, match=r"masks must have the shapes of params, got \(8,\)"):
        mj.apply({"a": gaussian(8, 8)}, {"a": jnp.ones(8, bool)})
    with pytest.raises(ValueError, match=r"[Dd]ict"):
        mj.apply({"a": gaussian(8, 8)}, {"b": jnp.ones((8, 8), bool)})
