import numpy as np
import numpy.typing as npt

Float32Array = npt.NDArray[np.float32]

def choose_columns(
    scores: npt.NDArray[np.float64],
    exact: bool,
    most: int,
    keep: npt.NDArray[np.bool_] | None = None,
    drop: npt.NDArray[np.bool_] | None = None,
) -> tuple[
    npt.NDArray[np.bool_], npt.NDArray[np.float64], npt.NDArray[np.float64], npt.NDArray[np.bool_], int
]: ...
def max_plus(held: Float32Array, freed: Float32Array, sums: Float32Array) -> None: ...
def held_table(
    weights: Float32Array,
    n: int,
    sets: npt.NDArray[np.uint8],
    walk: npt.NDArray[np.int32],
    nearest: npt.NDArray[np.int32],
    values: Float32Array,
) -> None: ...
def listed_table(
    weights: Float32Array,
    sets: npt.NDArray[np.uint8],
    masks: npt.NDArray[np.int32],
    values: Float32Array,
) -> None: ...
