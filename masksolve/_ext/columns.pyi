import numpy as np
import numpy.typing as npt

def choose_columns(
    scores: npt.NDArray[np.float64],
    exact: bool,
    most: int,
    keep: npt.NDArray[np.bool_] | None = None,
    drop: npt.NDArray[np.bool_] | None = None,
) -> tuple[
    npt.NDArray[np.bool_], npt.NDArray[np.float64], npt.NDArray[np.float64], npt.NDArray[np.bool_], int
]: ...
