"""A report as one HTML page: totals, what each layer keeps, the worst tiles, and every tensor.

The page is a single file without scripts, and asks no network for anything.
"""

from __future__ import annotations

import math
import re
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from html import escape
from importlib.resources import files
from pathlib import Path
from typing import Any

from ..whole_files import write_text
from .report import Report, TensorReport, gap_of, share

_TILES = 6
_NUMBER = re.compile(r"(?<![^.])\d+(?![^.])")
_CELL = {4: 34, 8: 18, 16: 10, 32: 6}
_ROUNDING = 1e-15
_CHART_WIDTH, _CHART_HEIGHT, _MARGIN = 860, 240, 52
_COLOURS = ("#3b6fb6", "#d1633c", "#3f9a6b", "#8c5fb0", "#b8892b", "#4aa3b5", "#c0527f", "#6f7a86")


def write_page(report: Report, path: str | Path) -> None:
    """Write a report as a page.

    Parameters
    ----------
    report : Report
        Of a run with ``worst=True`` if tiles are to be drawn.
    path : str or Path
    """
    write_text(path, "\n".join(_page(report)) + "\n")


def _page(report: Report) -> Iterator[str]:
    name = escape(report.target.name)
    style = (files("masksolve") / "data" / "report.css").read_text(encoding="utf-8")
    yield '<!DOCTYPE html><html lang="en"><head><meta charset="utf-8">'
    yield '<meta name="viewport" content="width=device-width, initial-scale=1">'
    yield f"<title>{name}, pruned</title><style>{style}</style></head><body><main>"
    version = escape(str(report.identity.get("masksolve")))
    yield f"<h1>{name}</h1><p>Pruned from <code>{escape(str(report.source))}</code> by masksolve {version}. "
    yield "Kept weights are the original ones, bit for bit.</p>"
    yield from _cards(report)
    yield from _chart(report.pruned)
    yield from _kinds(report.pruned)
    yield from _worst(report.pruned)
    yield from _left_alone(report)
    yield from _every(report.pruned)
    yield "</main></body></html>"


def _cards(report: Report) -> Iterator[str]:
    zeros = sum(tensor.zeros for tensor in report.pruned)
    entries = sum(tensor.entries for tensor in report.pruned)
    every = sum(tensor.entries for tensor in report.tensors)
    optimal = sum(tensor.status == "OPTIMAL" for tensor in report.pruned)
    cards = (
        (
            f"{100 * report.retained:.2f} %",
            f"of |w| kept with {_percent((entries - zeros) / max(entries, 1))} of the weights",
        ),
        (_short(zeros), f"weights set to zero, {_percent(zeros / max(every, 1))} of the whole checkpoint"),
        (f"{len(report.pruned)} of {len(report.tensors)}", "tensors pruned; the others are listed below"),
        (
            _gap(report.gap),
            f"proven gap to the best masks; {optimal} of {len(report.pruned)} tensors proven optimal",
        ),
    )
    yield '<div class="cards">'
    for number, words in cards:
        yield f'<div class="card"><b>{escape(number)}</b><span>{escape(words)}</span></div>'
    yield "</div>"


def _chart(tensors: Sequence[TensorReport]) -> Iterator[str]:
    """Draw the share kept over the layers, one line for each kind of tensor."""
    lines: dict[str, list[tuple[int, float]]] = defaultdict(list)
    for tensor in tensors:
        layer_number = _NUMBER.search(tensor.name)
        if layer_number is not None and tensor.total:
            lines[_kind(tensor.name)].append((int(layer_number[0]), tensor.objective / tensor.total))
    lines = {kind: sorted(points) for kind, points in lines.items() if len(points) > 1}
    if not lines:
        return
    shares = [value for points in lines.values() for _, value in points]
    low, high = math.floor(100 * min(shares) - 0.2) / 100, math.ceil(100 * max(shares) + 0.2) / 100
    last = max(layer for points in lines.values() for layer, _ in points)
    digits = 2 if high - low < 0.02 else 1
    right, bottom = _CHART_WIDTH - 10, _CHART_HEIGHT - 30

    def place(layer: int, value: float) -> str:
        x = _MARGIN + (right - _MARGIN) * layer / max(last, 1)
        return f"{x:.1f},{bottom - (bottom - 10) * (value - low) / (high - low):.1f}"

    yield "<h2>What each layer keeps</h2><p>Share of the sum of |w| that the masks keep, layer by layer.</p>"
    yield f'<div class="box"><svg viewBox="0 0 {_CHART_WIDTH} {_CHART_HEIGHT}" role="img">'
    for step in range(5):
        value = low + (high - low) * step / 4
        y = place(0, value).partition(",")[2]
        yield f'<line class="axis" x1="{_MARGIN}" x2="{right}" y1="{y}" y2="{y}"/>'
        label = f"{100 * value:.{digits}f} %"
        yield f'<text x="{_MARGIN - 6}" y="{float(y) + 4}" text-anchor="end">{label}</text>'
    for layer in sorted({0, last // 4, last // 2, 3 * last // 4, last}):
        x = place(layer, low).partition(",")[0]
        yield f'<text x="{x}" y="{bottom + 18}" text-anchor="middle">{layer}</text>'
    for number, points in enumerate(lines.values()):
        path = " ".join(place(*point) for point in points)
        colour = _COLOURS[number % len(_COLOURS)]
        yield f'<polyline class="line" points="{path}" stroke="{colour}"/>'
    yield '</svg><div class="legend">'
    for number, kind in enumerate(lines):
        yield f'<span><i style="background:{_COLOURS[number % len(_COLOURS)]}"></i>{escape(kind)}</span>'
    yield "</div></div>"


def _kinds(tensors: Sequence[TensorReport]) -> Iterator[str]:
    kinds: dict[tuple[str, tuple[int, ...], str], list[TensorReport]] = defaultdict(list)
    for tensor in tensors:
        kinds[_kind(tensor.name), tensor.shape, tensor.words].append(tensor)
    yield "<h2>By kind of tensor</h2>"
    yield _head("tensor", "shape", "pattern", "number#", "kept |w|", "proven gap#")
    for (kind, shape, pattern), same in kinds.items():
        name = kind if len(same) > 1 else same[0].name
        yield f"<tr>{_code(name)}{_text(_shape(shape))}{_text(pattern)}{_number(len(same))}{_kept(same)}</tr>"
    yield "</table></div>"


def _worst(tensors: Sequence[TensorReport]) -> Iterator[str]:
    """Draw the tiles that keep the smallest share, of different kinds of tensors as far as there are."""
    found = [(tensor, tensor.worst) for tensor in tensors if tensor.worst is not None]
    found.sort(key=lambda pair: float(pair[1]["share"]))
    first = {_kind(tensor.name): (tensor, tile) for tensor, tile in reversed(found)}
    chosen = [pair for pair in found if first[_kind(pair[0].name)][0] is pair[0]]
    chosen += [pair for pair in found if first[_kind(pair[0].name)][0] is not pair[0]]
    if not chosen:
        return
    yield "<h2>The worst tiles</h2><p>Where the pattern costs most: the tiles that keep the smallest "
    yield "share of their magnitudes. The area of a square is the magnitude of a weight, and crossed ones "
    yield "were set to zero.</p>"
    yield '<div class="tiles">'
    for tensor, tile in chosen[:_TILES]:
        batch, row, column = tile["at"]
        where = f"rows from {row}, columns from {column}" + (f", matrix {batch}" if batch else "")
        yield f"<figure>{''.join(_tile(tile))}<figcaption><code>{escape(tensor.name)}</code><br>"
        yield f"{escape(tensor.pattern or '')} keeps {_percent(float(tile['share']))} here; {where}"
        yield "</figcaption></figure>"
    yield "</div>"


def _tile(tile: Mapping[str, Any]) -> Iterator[str]:
    scores, mask = tile["scores"], tile["mask"]
    m = len(scores)
    cell = next((size for most, size in _CELL.items() if m <= most), 4)
    largest = max(max(line) for line in scores) or 1.0
    side = m * cell
    yield f'<svg width="{side}" height="{side}" viewBox="0 0 {side} {side}" role="img">'
    for row, (values, kept) in enumerate(zip(scores, mask, strict=True)):
        for column, (value, keep) in enumerate(zip(values, kept, strict=True)):
            x, y = column * cell, row * cell
            yield f'<rect class="frame" x="{x}" y="{y}" width="{cell}" height="{cell}"/>'
            size = max(1.0, (cell - 2) * math.sqrt(value / largest)) if value else 0.0
            inset = (cell - size) / 2
            faint = "" if keep else ' opacity=".25"'
            square = f'x="{x + inset:.1f}" y="{y + inset:.1f}" width="{size:.1f}" height="{size:.1f}"'
            yield f'<rect class="cell" {square}{faint}/>'
            if not keep:
                edge = cell * 0.28
                x1, y1, x2, y2 = x + edge, y + edge, x + cell - edge, y + cell - edge
                cross = f"M{x1:.1f} {y1:.1f}L{x2:.1f} {y2:.1f}M{x2:.1f} {y1:.1f}L{x1:.1f} {y2:.1f}"
                yield f'<path class="x" d="{cross}"/>'
    yield "</svg>"


def _left_alone(report: Report) -> Iterator[str]:
    reasons: dict[str, list[str]] = defaultdict(list)
    for tensor in report.left_alone:
        reasons[tensor.skipped or ""].append(tensor.name)
    if not reasons and not report.left_out:
        return
    yield f"<h2>Left alone</h2>{_head('reason', 'number#', 'tensors')}"
    for reason, names in reasons.items():
        kinds = list(dict.fromkeys(_kind(name) if len(names) > 1 else name for name in names))
        listed = ", ".join(f"<code>{escape(kind)}</code>" for kind in kinds)
        yield f"<tr>{_text(reason)}{_number(len(names))}<td>{listed}</td></tr>"
    for name, reason in report.left_out.items():
        yield f"<tr>{_text(reason)}{_number('file')}{_code(name)}</tr>"
    yield "</table></div>"


def _every(tensors: Sequence[TensorReport]) -> Iterator[str]:
    yield f"<details><summary>All {len(tensors)} pruned tensors</summary>"
    yield _head("tensor", "shape", "pattern", "zeros set#", "kept |w|", "proven gap#")
    for tensor in tensors:
        yield f"<tr>{_code(tensor.name)}{_text(_shape(tensor.shape))}{_text(tensor.words)}"
        yield f"{_number(f'{tensor.zeros:,}')}{_kept([tensor])}</tr>"
    yield "</table></div></details>"


def _head(*titles: str) -> str:
    """Begin a table; titles that end in # belong to columns of numbers."""
    cells = (_number(title[:-1], "th") if title.endswith("#") else _text(title, "th") for title in titles)
    return f'<div class="box"><table><tr>{"".join(cells)}</tr>'


def _text(text: str | None, tag: str = "td") -> str:
    return f"<{tag}>{escape(text or '')}</{tag}>"


def _code(text: str) -> str:
    return f"<td><code>{escape(text)}</code></td>"


def _number(text: object, tag: str = "td") -> str:
    return f'<{tag} class="n">{escape(str(text))}</{tag}>'


def _kept(tensors: Sequence[TensorReport]) -> str:
    """Write two cells: the share kept with a meter, and the gap."""
    kept, gap = share(tensors), gap_of(tensors)
    good = "good" if all(tensor.status == "OPTIMAL" for tensor in tensors) else "warn"
    meter = f'<span class="meter"><i style="width:{100 * min(max(kept, 0), 1):.1f}%"></i></span>'
    return f'<td class="wide">{meter}{100 * kept:.2f} %</td><td class="n {good}">{escape(_gap(gap))}</td>'


def _kind(name: str) -> str:
    return _NUMBER.sub("*", name)


def _gap(value: float) -> str:
    if not math.isfinite(value):
        return "unproven"
    return f"{value:.1e}" if value > _ROUNDING else "< 1e-15"


def _percent(value: float) -> str:
    return f"{100 * value:.1f} %"


def _shape(shape: Sequence[int]) -> str:
    return "×".join(map(str, shape))


def _short(count: int) -> str:
    for limit, unit in ((1e9, "G"), (1e6, "M")):
        if count >= limit:
            return f"{count / limit:.2f} {unit}"
    return f"{count:,}"
