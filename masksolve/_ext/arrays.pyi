from types import TracebackType
from typing import Any, Literal, Self

import numpy as np
import numpy.typing as npt

class DefaultArithmetic:
    def __enter__(self) -> Self: ...
    def __exit__(
        self,
        kind: type[BaseException] | None = None,
        error: BaseException | None = None,
        traceback: TracebackType | None = None,
    ) -> Literal[False]: ...

def largest_magnitude(array: npt.NDArray[Any]) -> float: ...
def magnitude_sum(array: npt.NDArray[Any]) -> float: ...
def negative_share(array: npt.NDArray[Any], per_axis: int) -> float: ...
def add_pairs(
    firsts: npt.NDArray[Any], apart: tuple[int, ...], score: str, most: float, sums: npt.NDArray[Any]
) -> bool: ...
def spread_pairs(
    mask: npt.NDArray[np.bool_], firsts: npt.NDArray[np.bool_], apart: tuple[int, ...]
) -> None: ...
