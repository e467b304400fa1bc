from typing import Any

import numpy as np
import numpy.typing as npt

def largest_magnitude(array: npt.NDArray[Any]) -> float: ...
def add_pairs(
    firsts: npt.NDArray[Any], apart: tuple[int, ...], score: str, most: float, sums: npt.NDArray[Any]
) -> bool: ...
def spread_pairs(
    mask: npt.NDArray[np.bool_], firsts: npt.NDArray[np.bool_], apart: tuple[int, ...]
) -> None: ...
