"""Two ways to reconstruct pruned layers: exact least squares, and Adam, by error and by time.

``python -m examples.post_training.reconstruction``; see docs/pruning.md for what it needs.
"""

from __future__ import annotations

import argparse
import copy
import time
from typing import NamedTuple

import torch

from benchmarks.instances import MissingWeightsError
from masksolve.adapters import torch as mt

from .encoder import batches, load_encoder, tokenize
from .sentences import first_sentences, split


class Row(NamedTuple):
    """A way, the mean relative squared output error it leaves, and seconds of processor time."""

    name: str
    error: float
    seconds: float


def compare(block: torch.nn.Module, states: list[torch.Tensor], pattern: str, steps: list[int]) -> list[Row]:
    """Prune copies of a block; the time is what comes on top of finding the masks."""
    ways: dict[str, dict[str, object]] = {
        "mask only": {"method": "none"},
        "least squares": {"method": "least_squares"},
    }
    ways |= {f"Adam, {count} steps": {"method": "adam", "steps": count} for count in steps}
    rows: list[Row] = []
    for name, options in ways.items():
        pruned = copy.deepcopy(block)
        started = time.process_time()
        report = mt.adaprune(pruned, states, pattern, dense_ends=False, **options)  # type: ignore[arg-type]
        seconds = time.process_time() - started
        assert report.error_after is not None
        rows.append(Row(name, report.error_after, seconds - (rows[0].seconds if rows else 0.0)))
        print(f"{pattern:8} {name:20} error {rows[-1].error:8.3%}  {rows[-1].seconds:7.1f} s", flush=True)
    return rows


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--patterns", nargs="+", default=["4:8-T"])
    parser.add_argument("--sentences", type=int, default=512)
    parser.add_argument("--block", type=int, default=0, help="which of the encoder's six")
    parser.add_argument("--steps", type=int, nargs="+", default=[100, 1000])
    options = parser.parse_args()
    torch.set_num_threads(1)
    try:
        encoder = load_encoder()
        calibration = batches(tokenize(split(first_sentences(), options.sentences, 1)[0]))
    except MissingWeightsError as error:
        raise SystemExit(str(error)) from None
    with torch.inference_mode():
        states = [encoder.begin(tokens) for tokens in calibration]
        for earlier in encoder.layers[: options.block]:
            states = [earlier(state) for state in states]
    samples = sum(state.shape[0] * state.shape[1] for state in states)
    given = f"{samples} tokens of {options.sentences} sentences"
    print(f"block {options.block} of all-MiniLM-L6-v2, 6 matrices, {given}")
    for pattern in options.patterns:
        compare(encoder.layers[options.block], states, pattern, options.steps)


if __name__ == "__main__":
    main()
