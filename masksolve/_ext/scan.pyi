from typing import Any

import numpy.typing as npt

def largest_magnitude(array: npt.NDArray[Any]) -> float: ...
