"""The demonstration: a trained network, pruned under several patterns and tested after each."""

from __future__ import annotations

from importlib.resources import files
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
from rich.console import Console
from rich.text import Text

import masksolve as ms

from .picture import Panel, draw
from .tables import gap, percent, table

PATTERNS = ("2:4", "4:8", "1:2-T", "2:4-T", "4:8-T", "8:16-T", "16:32-T")
PICTURED = "4:8-T"
BRIGHTEST = 16
RUNS = 3

Float32Array = npt.NDArray[np.float32]


class Network(NamedTuple):
    """A perceptron: weights (outputs, inputs) and biases (outputs,) of its layers."""

    weights: list[Float32Array]
    biases: list[Float32Array]

    def accuracy(self, images: Float32Array, labels: npt.NDArray[np.uint8]) -> float:
        """Share of images (count, pixels) whose label the network finds."""
        values = images
        for weights, biases in zip(self.weights[:-1], self.biases[:-1], strict=True):
            values = np.maximum(values @ weights.T + biases, 0)
        outputs = values @ self.weights[-1].T + self.biases[-1]
        return float((outputs.argmax(axis=1) == labels).mean())


class Outcome(NamedTuple):
    """What one pattern keeps of the hidden layers, and what that does to the network."""

    pattern: str
    exact: float
    greedy: float
    accuracy: float
    gap: float
    seconds: float


def run(console: Console) -> None:
    """Prune the network that comes with the package, and print what became of it."""
    network, images, labels = _load()
    dense = network.accuracy(images, labels)
    sizes = "-".join(str(size) for size in (network.weights[0].shape[1], *map(len, network.biases)))
    console.print(
        f"A trained digit classifier ({sizes}) reads {percent(dense)} of {len(labels)} held-out images. "
        f"Half of the weights of its two hidden matrices are now set to zero, without retraining:",
        highlight=False,
    )
    numbers = ("kept |w|", "by greedy", "accuracy", "pruned", "proven gap", "ms")
    made = table(["pattern", *numbers], numbers)
    for name in PATTERNS:
        runs = [prune(network, name, images, labels) for _ in range(RUNS)]
        outcome = min(runs, key=lambda run: run.seconds)
        made.add_row(
            Text(name, "bold"),
            percent(outcome.exact),
            percent(outcome.greedy),
            percent(dense),
            percent(outcome.accuracy),
            gap(outcome.gap),
            f"{1e3 * outcome.seconds:.2f}",
        )
    console.print(made)
    console.print(
        "kept |w|: share of the two matrices' magnitude that the optimal masks keep, and that greedy "
        "ones keep. accuracy, pruned: before and after. proven gap: how far, at most, the kept sum is "
        "from the best possible. ms: time to find both masks, proof included, the fastest of "
        f"{RUNS} runs. -T: transposable, both the rows and the columns follow the pattern.\n",
        style="dim",
        highlight=False,
    )
    _show_tile(console, network)


def prune(network: Network, pattern: str, images: Float32Array, labels: npt.NDArray[np.uint8]) -> Outcome:
    """Prune all layers but the last under ``pattern``, and test the network again."""
    hidden = [np.abs(weights) for weights in network.weights[:-1]]
    results = [ms.solve(scores, pattern) for scores in hidden]
    greedy = [ms.solve(scores, pattern, backend="greedy") for scores in hidden]
    pruned = [weights * result.mask for weights, result in zip(network.weights, results, strict=False)]
    total = sum(float(scores.sum(dtype=np.float64)) for scores in hidden)
    objective = sum(result.objective for result in results)
    bound = sum(result.bound for result in results)
    return Outcome(
        pattern=pattern,
        exact=objective / total,
        greedy=sum(result.objective for result in greedy) / total,
        accuracy=Network([*pruned, network.weights[-1]], network.biases).accuracy(images, labels),
        gap=(bound - objective) / bound,
        seconds=sum(result.stats["seconds"] for result in results),
    )


def _show_tile(console: Console, network: Network) -> None:
    """Draw the tile on which greedy loses most, with both masks."""
    scores = np.abs(network.weights[0])
    masks = [ms.solve(scores, PICTURED, backend=backend).mask for backend in ("auto", "greedy")]
    m = ms.Pattern.parse(PICTURED).m
    tiles = zip(*(_tiles(array, m) for array in (scores, *masks)), strict=True)
    tile, exact, greedy = max(tiles, key=lambda each: _kept(each[0], each[1]) - _kept(each[0], each[2]))
    best, less = _kept(tile, exact), _kept(tile, greedy)
    console.print(f"One 8x8 tile under {PICTURED}, the one on which greedy loses most:\n", highlight=False)
    for line in draw(
        tile,
        [
            Panel("|w|", f"sum {tile.sum():.3f}", None),
            Panel("exact mask", f"keeps {best:.3f}", exact),
            Panel("greedy mask", f"keeps {less:.3f} ({100 * (less / best - 1):+.1f} %)", greedy),
        ],
        _shades(console),
    ):
        console.print(line)
    console.print(
        "\nYour own weights: masksolve prune IN -o OUT --pattern 4:8-T",
        highlight=False,
        soft_wrap=True,
    )


def _shades(console: Console) -> str:
    """Choose characters that the terminal can show; colour alone tells more than shades on top."""
    if not console.encoding.lower().startswith("utf"):
        return ".+#@"
    return "█" if console.color_system else "░▒▓█"


def _kept(scores: npt.NDArray[Any], mask: npt.NDArray[np.bool_]) -> float:
    return float(scores[mask].sum(dtype=np.float64))


def _tiles(array: npt.NDArray[Any], m: int) -> npt.NDArray[Any]:
    rows, columns = array.shape
    return array.reshape(rows // m, m, columns // m, m).swapaxes(1, 2).reshape(-1, m, m)


def _load() -> tuple[Network, Float32Array, npt.NDArray[np.uint8]]:
    """Read the network and the held-out images, made by ``examples/train_demo.py``."""
    data = files("masksolve") / "data"
    with (data / "digits_mlp.npz").open("rb") as stream, np.load(stream) as archive:
        layers = range(1, len(archive.files) // 2 + 1)
        network = Network(
            [archive[f"layer{layer}.weight"] for layer in layers],
            [archive[f"layer{layer}.bias"] for layer in layers],
        )
    with (data / "digits_test.npz").open("rb") as stream, np.load(stream) as archive:
        return network, archive["images"].astype(np.float32) / BRIGHTEST, archive["labels"]
