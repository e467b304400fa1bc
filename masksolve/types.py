"""Types that many files share."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

BoolArray = npt.NDArray[np.bool_]
FloatArray = npt.NDArray[np.floating[Any]]
Float64Array = npt.NDArray[np.float64]

Bounds = tuple[int, int]
"""Least and most entries that a row, column or group keeps."""
