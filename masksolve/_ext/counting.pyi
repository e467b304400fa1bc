import numpy as np
import numpy.typing as npt

PANEL_WIDTH: int

def sum_of_powers(
    prime: float,
    exponent: int,
    roots: npt.NDArray[np.float64],
    classes: npt.NDArray[np.intc],
    size: int,
    inverse_factorials: npt.NDArray[np.float64],
    panels: npt.NDArray[np.float64],
    weights: npt.NDArray[np.float64],
    begin: npt.NDArray[np.intp],
    factors: npt.NDArray[np.intc],
    products: int,
) -> list[int]: ...
