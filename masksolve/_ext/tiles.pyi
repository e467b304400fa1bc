from typing import NamedTuple

from ..layout import Block

class Solved(NamedTuple):
    objective: float
    bound: float
    largest: float
    open: int
    worst_tile: int
    worst_gap: float
    refined: int
    exactly: int
    augmentations: int
    steps: int

def instruction_sets() -> dict[str, bool]: ...
def solve_tiles(
    block: Block, first: int, last: int, instruction_set: str
) -> Solved | tuple[int, str, int] | None: ...
def fill_tiles(block: Block, first: int, last: int, instruction_set: str) -> tuple[float, float] | None: ...
def solve_greedy(block: Block, first: int, last: int) -> tuple[float, int]: ...
def solve_cover(block: Block, first: int, last: int) -> tuple[float, int]: ...
