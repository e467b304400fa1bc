"""An order of channels before ADMM, on a sentence encoder: ``python -m examples.post_training.reordering``.

The encoder is pruned as it is, after `mt.permute` by magnitudes, and by ``mt.adaprune(..., permute=True)``,
which weighs entries by squared Wanda scores. Errors are those of the layers' outputs on the calibration
sentences and on others; fidelity is that to the dense encoder's embeddings.
"""

from __future__ import annotations

import argparse
import copy
import time
from collections.abc import Mapping, Sequence

import numpy as np
import torch

from masksolve.adapters import torch as mt

from .encoder import Encoder, batches, embed, load_encoder, tokenize
from .fidelity import fidelity
from .sentence_study import output_errors
from .sentences import first_sentences, split

WAYS = ("as it is", "by magnitude", "by squared Wanda")


def prune(
    encoder: Encoder, calibration: Sequence[torch.Tensor], pattern: str, way: str
) -> tuple[Encoder, mt.AdaPruneReport]:
    """Prune the encoder in place; also the dense one in the order that its channels have by then."""
    dense = copy.deepcopy(encoder)
    orders = {}
    if way == "by magnitude":
        orders = mt.permute(encoder, calibration[0], pattern, dense_ends=False).orders
    report = mt.adaprune(
        encoder, list(calibration), pattern, dense_ends=False, permute=way == "by squared Wanda"
    )
    reordered(dense, orders if report.permuted is None else report.permuted.orders)
    return dense, report


def reordered(encoder: Encoder, orders: Mapping[tuple[str, int], np.ndarray]) -> None:
    """Bring parameters into an order that `mt.permute` found for another copy."""
    with torch.no_grad():
        for (name, axis), order in orders.items():
            tensor = encoder.get_parameter(name)
            tensor.copy_(tensor.index_select(axis, torch.from_numpy(order)))


def main(words: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--patterns", nargs="+", default=["2:4-T"])
    parser.add_argument("--ways", nargs="+", choices=WAYS, default=list(WAYS))
    parser.add_argument("--calibration", type=int, default=256, help="sentences")
    parser.add_argument("--test", type=int, default=200, help="sentences")
    parser.add_argument("--layers", type=int, default=6, help="of the encoder, from its first")
    arguments = parser.parse_args(words)
    whole = load_encoder()
    whole.layers = whole.layers[: arguments.layers]
    calibration, test = (
        list(batches(tokenize(part)))
        for part in split(first_sentences(), arguments.calibration, arguments.test)
    )
    with torch.no_grad():
        wanted = embed(whole, test)
    for pattern in arguments.patterns:
        for way in arguments.ways:
            encoder, begun = copy.deepcopy(whole), time.process_time()
            dense, report = prune(encoder, calibration, pattern, way)
            seconds = time.process_time() - begun
            with torch.no_grad():
                errors, found = output_errors(dense, encoder, test), fidelity(wanted, embed(encoder, test))
            print(
                f"{pattern} {way}: error {report.error_after:.4f}, unseen "
                f"{sum(errors.values()) / len(errors):.4f}, cosine {found.cosine:.4f}, rank "
                f"{found.rank_correlation:.4f}, agreement {found.agreement:.4f}, {seconds:.0f} s",
                flush=True,
            )


if __name__ == "__main__":
    main()
