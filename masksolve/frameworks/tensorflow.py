"""TensorFlow's eager tensors and variables: solved on the host, answered on their device."""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext
from typing import Any

import numpy as np
import numpy.typing as npt
import tensorflow as tf


def on_host(array: Any) -> bool:
    """Say yes: TensorFlow has no array-API namespace for `batched` to run in."""
    return True


def to_numpy(name: str, array: Any) -> npt.NDArray[Any]:
    """Read a tensor in place; from another device, copy it."""
    # numpy() would copy.
    return np.asarray(tf.convert_to_tensor(native(name, array)))


def from_numpy(array: npt.NDArray[Any], like: Any) -> Any:
    """Copy the array to the device of ``like``."""
    with tf.device(like.device):
        return tf.convert_to_tensor(array)


def namespace(array: Any) -> Any:
    """Refuse."""
    raise TypeError("TensorFlow tensors have no array-API namespace; use another backend than 'batched'")


def native(name: str, array: Any) -> Any:
    """Give the tensor itself, if it is eager."""
    # A variable has values; inside tf.function it gives a symbolic tensor all the same.
    if not hasattr(array, "numpy") or (isinstance(array, tf.Variable) and not tf.executing_eagerly()):
        raise TypeError(
            f"{name} must be an eager tensor, got a symbolic one of tf.function; call masksolve through "
            f"tf.numpy_function there"
        )
    return array


def double_precision() -> AbstractContextManager[object]:
    """Open an empty context: TensorFlow always has float64."""
    return nullcontext()


def compiler() -> None:
    """Give none: nothing of TensorFlow's is run."""
