"""Which networks are trained, one after the other, and what is written down about each."""

from __future__ import annotations

import itertools
import json
import multiprocessing
import os
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import nn

from benchmarks.resnet import resnet
from masksolve.adapters import torch as mt

from .data import Data, Part, load
from .masks import UNSTRUCTURED, Masks
from .training import Regime, Trainer, accuracy

DENSE = "dense"
MODES = ("scratch", "tuned", "pruned")
RULES = (
    UNSTRUCTURED,
    "4:8",
    "8:16-T",
    "2:4",
    "4:8-T",
    "1:2",
    "2:4-T",
    "2:4 sequential",
    "4:8 sequential",
    "1:2-T",
)
COMPARED = ("2:4-T", "4:8-T", "8:16-T")
SOLVERS = ("greedy", "cover")
RANDOM = "4:8-T"
BACKWARD = (
    "2:4",
    "2:4 double-pruned",
    "2:4 bidirectional",
    "2:4-T",
    "2:4 MVUE",
    "2:4-T MVUE",
)
BACKWARD_MODES = ("scratch", "fixed", "tuned")
TUNING_IMAGES = 2_000  # for the statistics of batch normalisation, right after pruning


class Run(NamedTuple):
    """One network.

    Attributes
    ----------
    rule, solver : str
        As for `masks.find`; "dense" and "exact" for the network without masks.
    mode : {"scratch", "fixed", "tuned", "pruned"}
        "scratch": with dynamic masks from the first step. "fixed": with static masks of the initial weights.
        "tuned": from the dense network of the same
        seed, with static masks, by the same regime again. "pruned": that network under those masks, not
        trained again, but with batch-norm statistics gathered anew.
    seed : int
        Of initial weights, training images and their order: equal in all runs that are compared.
    """

    rule: str
    solver: str
    mode: str
    seed: int


@dataclass(frozen=True)
class Setting:
    """What all runs of one file of results share.

    Attributes
    ----------
    data : str
        As for `data.load`.
    regime : Regime
    part : {"test", "validation"}
        What accuracies are measured on.
    folder : Path
        Keeps the dense networks.
    """

    data: str
    regime: Regime
    part: str
    folder: Path


def plan(seeds: Sequence[int]) -> list[Run]:
    """All runs: the dense networks first, since tuning starts from them, then seed by seed."""
    sorts = [(rule, "exact") for rule in RULES]
    sorts += [*itertools.product(COMPARED, SOLVERS), (RANDOM, "random")]
    dense = [Run(DENSE, "exact", "scratch", seed) for seed in seeds]
    others = [
        Run(*sort, mode, seed)
        for seed in seeds
        for mode in MODES
        for sort in [(DENSE, "exact"), *sorts]
        if (sort[0], mode) != (DENSE, "scratch")
    ]
    return dense + others


def plan_backward(seeds: Sequence[int]) -> list[Run]:
    """Runs that compare ways to sparse backward products; the dense networks first."""
    dense = [Run(DENSE, "exact", "scratch", seed) for seed in seeds]
    others = [
        Run(rule, "exact", mode, seed)
        for seed in seeds
        for mode in BACKWARD_MODES
        for rule in [*[DENSE] * (mode == "tuned"), *BACKWARD]
    ]
    return dense + others


def network(regime: Regime, seed: int) -> nn.Module:
    """Make a model with the initial weights of a seed."""
    torch.manual_seed(seed)
    return resnet(regime.width, regime.blocks, regime.stride).to(memory_format=torch.channels_last)


def perform(run: Run, setting: Setting, data: Data) -> dict[str, Any]:
    """Train one network and test it.

    Returns
    -------
    dict
        The run and the setting; "accuracy" in per cent; "loss", the mean over the last tenth; "retained",
        "density", "optimal", "flipped" and "backward" of the masks; "held", whether every masked layer
        follows the rule at the end; "seconds".
    """
    begun = time.perf_counter()
    judged: Part = getattr(data, setting.part)
    model = network(setting.regime, run.seed)
    if run.mode in ("tuned", "pruned"):
        model.load_state_dict(_dense_weights(run.seed, setting, data))
    masks = None
    if run.rule != DENSE:
        refresh = setting.regime.refresh if run.mode == "scratch" else None
        masks = Masks(model, run.rule, run.solver, refresh)
    trainer = Trainer(model, data.train, setting.regime, run.seed, masks)
    if run.mode == "pruned":
        mt.retune_batchnorm(model, data.train.x[trainer.pool[:TUNING_IMAGES]], batch_size=500)
    else:
        trainer.run()
    if run.rule == DENSE and run.mode == "scratch":
        _save(model, _dense_file(run.seed, setting))
    tail = trainer.losses[-max(1, len(trainer.losses) // 10) :]
    return {
        **run._asdict(),
        **_shared(setting),
        "accuracy": accuracy(model, judged),
        "loss": sum(tail) / len(tail) if tail else None,
        "retained": masks.retained if masks else None,
        "density": masks.density if masks else None,
        "optimal": masks.optimal if masks else None,
        "flipped": masks.flipped if masks else None,
        "backward": masks.backward if masks else None,
        "held": masks.hold() if masks else None,
        "seconds": time.perf_counter() - begun,
    }


def perform_all(
    runs: Sequence[Run], setting: Setting, results: Path, *, processes: int = 1
) -> Iterator[dict[str, Any]]:
    """Perform the runs that ``results`` has no line for yet; append a line for each, and yield it."""
    done = {Run(*(line[name] for name in Run._fields)) for line in read(results, setting)}
    missing = [run for run in runs if run not in done]
    dense = [run for run in missing if run.rule == DENSE and run.mode == "scratch"]
    for part in (dense, [run for run in missing if run not in set(dense)]):
        for line in _performed(part, setting, processes):
            with results.open("a") as file:
                file.write(json.dumps(line) + "\n")
            yield line


def read(results: Path, setting: Setting | None = None) -> list[dict[str, Any]]:
    """Read the lines of a file of results; cut off a last one that was not written to its end.

    Raises
    ------
    SystemExit
        If a line is from another setting.
    """
    if not results.exists():
        return []
    text = results.read_text()
    whole, _, torn = text.rpartition("\n")
    if torn:
        results.write_text(whole + "\n" if whole else "")
    lines = [json.loads(line) for line in whole.splitlines()]
    for line in lines if setting else []:
        if {name: line[name] for name in _shared(setting)} != _shared(setting):
            raise SystemExit(f"{results} is from another setting: {line}; give --out another folder")
    return lines


def _performed(runs: list[Run], setting: Setting, processes: int) -> Iterator[dict[str, Any]]:
    if not runs:
        return
    if processes == 1:
        _prepare(setting)
        yield from (_perform_here(run) for run in runs)
        return
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(processes, context, initializer=_prepare, initargs=(setting,)) as pool:
        for future in as_completed([pool.submit(_perform_here, run) for run in runs]):
            yield future.result()


_here: tuple[Setting, Data] | None = None


def _prepare(setting: Setting) -> None:
    """Read the data once in a process; one thread, so that results do not depend on the machine's load."""
    global _here  # noqa: PLW0603
    torch.set_num_threads(1)
    _here = setting, load(setting.data)


def _perform_here(run: Run) -> dict[str, Any]:
    assert _here is not None
    return perform(run, *_here)


def _shared(setting: Setting) -> dict[str, Any]:
    return {"data": setting.data, "part": setting.part, "regime": asdict(setting.regime)}


def _dense_file(seed: int, setting: Setting) -> Path:
    return setting.folder / f"dense-{seed}.pt"


def _dense_weights(seed: int, setting: Setting, data: Data) -> dict[str, torch.Tensor]:
    file = _dense_file(seed, setting)
    if not file.exists():
        perform(Run(DENSE, "exact", "scratch", seed), setting, data)
    weights: dict[str, torch.Tensor] = torch.load(file, weights_only=True)
    return weights


def _save(model: nn.Module, file: Path) -> None:
    """All or nothing: a file broken off would be taken for a trained network."""
    torch.save(model.state_dict(), file.with_suffix(".part"))
    os.replace(file.with_suffix(".part"), file)
