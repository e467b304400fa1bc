"""TensorFlow: eager tensors and variables are solved, symbolic tensors are refused."""

import importlib

import numpy as np
import pytest
from assertions import assert_optimal

import masksolve as ms

tf = pytest.importorskip("tensorflow")

PATTERN = "4:8-T"


def gaussian() -> np.ndarray:
    return np.random.default_rng(0).standard_normal((16, 24), np.float32)


@pytest.mark.parametrize("make", [tf.constant, tf.Variable], ids=["tensor", "variable"])
def test_tensors_and_variables(make) -> None:
    scores = make(gaussian())
    found = ms.solve(scores, PATTERN, keep=tf.eye(16, 24) > 0)
    assert tf.is_tensor(found.mask)
    assert found.mask.device == tf.constant(0).device
    again = ms.solve(gaussian(), PATTERN, keep=np.eye(16, 24, dtype=bool), warm_start=found)
    assert_optimal(again, gaussian(), keep=np.eye(16, 24, dtype=bool), best=found.mask.numpy())


def test_tensors_are_read_in_place() -> None:
    adapter = importlib.import_module("masksolve.frameworks.tensorflow")
    for make in (tf.constant, tf.Variable):
        for dtype in (tf.float32, tf.bfloat16):
            tensor = make(tf.cast(gaussian(), dtype))
            first, second = (adapter.to_numpy("scores", tensor) for _ in range(2))
            assert first.dtype == dtype.as_numpy_dtype
            assert np.shares_memory(first, second)


def test_gradients_pass_by_the_mask() -> None:
    weights = tf.Variable(gaussian())
    with tf.GradientTape() as tape:
        mask = ms.solve(tf.abs(weights), PATTERN).mask
        loss = tf.reduce_sum(tf.where(mask, weights, 0.0))
    np.testing.assert_array_equal(tape.gradient(loss, weights).numpy(), mask.numpy().astype(np.float32))


def test_symbolic_tensors_are_refused() -> None:
    variable = tf.Variable(gaussian())
    untouched = tf.autograph.experimental.do_not_convert
    for solve in (lambda x: ms.solve(x, PATTERN).mask, lambda x: ms.solve(variable, PATTERN).mask):
        with pytest.raises(TypeError, match=r"scores must be an eager tensor.* tf\.numpy_function"):
            tf.function(untouched(solve))(tf.constant(gaussian()))


def test_the_way_through_a_function() -> None:
    @tf.function
    @tf.autograph.experimental.do_not_convert
    def solve(x):
        mask = tf.numpy_function(lambda values: ms.solve(values, PATTERN).mask, [x], tf.bool, stateful=False)
        return tf.ensure_shape(mask, x.shape)

    best = ms.solve(gaussian(), PATTERN)
    assert_optimal(best, gaussian(), best=solve(tf.constant(gaussian())).numpy())


def test_batched_is_refused() -> None:
    with pytest.raises(TypeError, match="no array-API namespace; use another backend than 'batched'"):
        ms.solve(tf.constant(gaussian()), PATTERN, backend="batched")


@pytest.mark.parametrize(
    "make", [tf.sparse.from_dense, tf.RaggedTensor.from_tensor], ids=["sparse", "ragged"]
)
def test_other_tensors_are_refused(make) -> None:
    with pytest.raises(TypeError, match=r"scores must be an array or nested lists, got .*Tensor"):
        ms.solve(make(tf.constant(gaussian())), PATTERN)
