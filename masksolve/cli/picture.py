"""One tile in the terminal: magnitudes as shading, masks beside it, counts at the margins."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
from rich.style import Style
from rich.text import Text

_DARK, _MIDDLE, _BRIGHT = (38, 50, 110), (200, 60, 110), (255, 214, 90)
_MARGIN = 3


class Panel(NamedTuple):
    """A picture of a tile: heading, caption, and the mask to show (None: the magnitudes alone)."""

    heading: str
    caption: str
    mask: npt.NDArray[np.bool_] | None


def draw(tile: npt.NDArray[Any], panels: Sequence[Panel], shades: str) -> Iterator[Text]:
    """Draw panels side by side, line by line.

    Parameters
    ----------
    tile : ndarray, shape (R, C)
        Magnitudes; shade and colour tell how large, by the square root.
    panels : sequence of Panel
        The entries that a panel's mask keeps are shaded, the others are dots, and the numbers
        of kept entries stand at the ends of its rows and columns.
    shades : str
        Characters from the smallest magnitude to the largest; a single one leaves it to colour.
    """
    shares = np.sqrt(tile / (tile.max() or 1))
    dot = "-" if shades.isascii() else "·"
    width = max(2 * tile.shape[1] + _MARGIN, *(len(panel.caption) for panel in panels)) + 3
    yield _beside([Text(panel.heading, "bold") for panel in panels], width)
    for row in range(len(shares)):
        yield _beside([_row(shares, panel.mask, row, shades, dot) for panel in panels], width)
    yield _beside([_column_counts(panel.mask) for panel in panels], width)
    yield _beside([Text(panel.caption) for panel in panels], width)


def _row(
    shares: npt.NDArray[Any], mask: npt.NDArray[np.bool_] | None, row: int, shades: str, dot: str
) -> Text:
    """Draw one row of a tile and its count; a cell is two characters wide, which is nearly square."""
    line = Text()
    for column, share in enumerate(shares[row]):
        if mask is None or mask[row, column]:
            line.append_text(_cell(float(share), shades))
        else:
            line.append(f" {dot}", "dim")
    if mask is not None:
        line.append(f" {mask[row].sum():>2}", "dim")
    return line


def _column_counts(mask: npt.NDArray[np.bool_] | None) -> Text:
    return Text("" if mask is None else "".join(f"{count:>2}" for count in mask.sum(axis=0)), "dim")


def _cell(share: float, shades: str) -> Text:
    shade = shades[min(int(share * len(shades)), len(shades) - 1)]
    low, high, position = (_DARK, _MIDDLE, 2 * share) if share < 0.5 else (_MIDDLE, _BRIGHT, 2 * share - 1)
    red, green, blue = (round(a + position * (b - a)) for a, b in zip(low, high, strict=True))
    return Text(2 * shade, Style(color=f"rgb({red},{green},{blue})"))


def _beside(parts: Sequence[Text], width: int) -> Text:
    line = Text(" ")
    for part in parts[:-1]:
        line.append_text(part).append(" " * (width - len(part)))
    return line.append_text(parts[-1])
