"""Tiles for a backend that solves torch's tensors in place: strided views, and room for the answer."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from ..problem import MaskProblem
from ..tiling import Region
from ..types import BoolArray, Prices
from . import Chunk
from .device import DeviceBlock, DeviceLayout
from .host import worth

if TYPE_CHECKING:
    import torch


@dataclass(eq=False)
class Placed:
    """All the tiles of a problem as they lie in the caller's tensor, and where the answer goes.

    Attributes
    ----------
    scores, mask : tensors, shape ``(*grid, r, c)``
        Views of the caller's tensor and of ``whole``.
    whole : tensor of bool, shape of the scores
        The mask, in the memory order of the scores.
    rows, columns : tensors (tiles, r) and (tiles, c), or None
        Room for prices; ``columns`` is None where columns are free.
    objective, bound : float64 tensors (tiles,), or None
        Room for what every tile keeps, and could keep at most.
    """

    scores: torch.Tensor
    mask: torch.Tensor
    whole: torch.Tensor
    rows: torch.Tensor | None
    columns: torch.Tensor | None
    objective: torch.Tensor | None
    bound: torch.Tensor | None

    @classmethod
    def of(cls, problem: MaskProblem, *, prices: bool, tiles: bool) -> Placed:
        """View a problem with one region; nothing is copied."""
        import torch

        tiling, (region,) = problem.tiling, problem.tiling.regions
        whole = torch.empty_like(problem.scores, dtype=torch.bool)
        for tail in tiling.tails(tiling.grouped(problem.xp, whole)):
            tail[...] = True
        scores, mask = (_cut(tiling.grouped(problem.xp, array), region) for array in (problem.scores, whole))
        count, device = tiling.tiles, problem.scores.device
        dtype = torch.float64 if problem.double else torch.float32
        rows, columns = (
            torch.empty((count, side), dtype=dtype, device=device) if prices and side else None
            for side in tiling.lines
        )
        objective, bound = (
            torch.empty((count,), dtype=torch.float64, device=device) if tiles else None for _ in range(2)
        )
        return cls(scores, mask, whole, rows, columns, objective, bound)

    @property
    def prices(self) -> Prices | None:
        """Dual prices, (tiles, r) and (tiles, c), or None if they are not kept."""
        return None if self.rows is None else Prices(self.rows, self.columns)

    def place(self, tiles: torch.Tensor) -> tuple[torch.Tensor, ...]:
        """Index of tiles (k,), by their numbers, into the grid's axes."""
        parts: list[torch.Tensor] = []
        for extent in reversed(self.scores.shape[:-2]):
            parts.append(tiles % extent)
            tiles = tiles // extent
        return tuple(reversed(parts))

    def write(self, tiles: Any, mask: Any, prices: Prices | None) -> None:
        """Write masks (k, r, c) and prices of some tiles, from any device or NumPy."""
        import torch

        tiles = torch.as_tensor(tiles, device=self.mask.device)
        owned = np.array(mask) if isinstance(mask, np.ndarray) else mask  # a view may be read-only
        self.mask[self.place(tiles)] = torch.as_tensor(owned, device=self.mask.device)
        if prices is None:
            return
        for room, values in zip((self.rows, self.columns), prices, strict=True):
            if room is not None and values is not None:
                room[tiles] = torch.as_tensor(values, device=room.device).to(room.dtype)

    def record(self, tiles: Any, objective: Any, bound: Any) -> None:
        """Note objectives and bounds (k,) of some tiles, if they are asked for."""
        import torch

        for room, values in ((self.objective, objective), (self.bound, bound)):
            if room is not None:
                room[torch.as_tensor(tiles, device=room.device)] = torch.as_tensor(values, device=room.device)

    def some(self, tiles: Any) -> tuple[torch.Tensor, torch.Tensor]:
        """Copy some tiles' scores and masks (k, r, c)."""
        import torch

        place = self.place(torch.as_tensor(tiles, device=self.mask.device))
        return self.scores[place], self.mask[place]


@dataclass(eq=False, kw_only=True)
class PlacedBlock(DeviceBlock):
    """All tiles of a problem, which a backend reads and writes through the views in ``placed``."""

    placed: Placed

    def write(self, first: int, last: int, mask: Any, prices: Prices | None) -> Prices | None:
        """Write masks and prices of tiles that the backend did not come to."""
        self.placed.write(np.arange(first, last), mask, prices)
        return prices

    def record(self, first: int, last: int, objective: Any, bound: Any) -> None:
        """Note the objectives and bounds of such tiles."""
        self.placed.record(np.arange(first, last), objective, bound)

    def some_on_host(self, places: npt.NDArray[np.intp]) -> tuple[Chunk, BoolArray]:
        """Copy some tiles, and their masks, to the host; the scores in float64."""
        entries, mask = self.placed.some(places)
        numbers = [self.number(int(tile)) for tile in places]
        scores = worth(np.array(self.read(entries), dtype=np.float64), self.problem.score)
        chunk = Chunk(scores, None, None, self.row_bounds, self.column_bounds, numbers)
        return chunk, np.array(self.read(mask))


class PlacedLayout(DeviceLayout):
    """One region of torch's tensors, for a backend that reads and writes them where they are."""

    blocks: list[PlacedBlock]  # type: ignore[assignment]

    def __init__(self, problem: MaskProblem, **options: Any) -> None:
        super().__init__(problem, **options)
        self._placed = Placed.of(problem, prices=self._keeps_prices, tiles=self._keeps_tiles)
        self.blocks = [
            PlacedBlock(problem, block.start, block.region, placed=self._placed) for block in self.blocks
        ]

    @property
    def mask(self) -> torch.Tensor:
        """The whole mask, in the shape and memory order of the scores."""
        return self._placed.whole

    @property
    def prices(self) -> Prices | None:
        """Dual prices, (tiles, r) and (tiles, c), or None if they are not kept."""
        return self._placed.prices

    def _joined_sums(self, which: int) -> torch.Tensor | None:
        sums = self._placed.bound if which else self._placed.objective
        return None if sums is None else sums.reshape(self._tiling.grid)


def _cut(array: torch.Tensor, region: Region) -> torch.Tensor:
    """View a region's tiles of a grouped tensor, shape ``(*grid, r, c)``."""
    part = array[..., region.down.entries, region.across.entries]
    *lead, _, _ = part.shape
    down, across = region.down, region.across
    # Cutting an axis in two never copies, whatever the strides.
    return part.view(*lead, down.runs, down.length, across.runs, across.length).movedim(-2, -3)
