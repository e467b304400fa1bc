"""Options that are handed on are refused where they are written, with the name that was meant."""

from __future__ import annotations

import copy
import importlib
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

torch = pytest.importorskip("torch")

from masksolve.adapters import torch as mt  # noqa: E402
from masksolve.adapters.torch.integrations.accelerate import SparsifyCallback  # noqa: E402
from masksolve.adapters.torch.integrations.callback import Callback  # noqa: E402

BATCH = torch.ones(2, 8)


def model() -> torch.nn.Module:
    return torch.nn.Sequential(torch.nn.Linear(8, 8), torch.nn.Linear(8, 8), torch.nn.Linear(8, 8))


def trained(**options: Any) -> object:
    network = model()
    return mt.prune_trained_model(network, torch.optim.SGD(network.parameters(), lr=0.1), "2:4", **options)


def accelerated(**options: Any) -> object:
    return SparsifyCallback(None, model(), "2:4", **options)


def permuted(**options: Any) -> object:
    return mt.permute(model(), BATCH, "2:4", **options)


def callback(**options: Any) -> object:
    return Callback("2:4", **options)


@pytest.mark.parametrize(
    ("call", "option", "meant"),
    [
        (trained, "dens_ends", "dense_ends"),
        (trained, "layer", "layers"),
        (accelerated, "refresh_evry", "refresh_every"),
        (accelerated, "warmstart", "warm_start"),
        (callback, "refresh_evry", "refresh_every"),
        (callback, "allow_unfinnished", "allow_unfinished"),
        (permuted, "restart", "restarts"),
        (permuted, "pases", "passes"),
        (permuted, "tolerence", "tolerance"),
    ],
)
def test_a_misspelt_option(call: Callable[..., object], option: str, meant: str) -> None:
    with pytest.raises(
        TypeError, match=rf" has no option '{option}'; its options are \[.*\]; did you mean '{meant}'\?$"
    ):
        call(**{option: 2})


@pytest.mark.parametrize("call", [trained, accelerated, callback, permuted])
def test_an_option_like_no_other(call: Callable[..., object]) -> None:
    with pytest.raises(TypeError, match=r" has no option 'zzz'; its options are \[.*\]$"):
        call(zzz=1)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (
            lambda: mt.adaprune(model(), BATCH, "2:4", saliency="wnda"),
            "saliency must be one of .*; did you mean 'wanda'?",
        ),
        (lambda: mt.adaprune(model(), BATCH, "2:4", saliency="abs"), "did you mean 'magnitude'?"),
        (lambda: mt.adaprune(model(), BATCH, "2:4", method="lstsq"), "method must be one of 'admm', "),
        (lambda: mt.adaprune(model(), BATCH, "2:4", method="Adam"), "got 'Adam'; did you mean 'adam'?"),
        (lambda: mt.sparsify(model(), "2:4", kernels="semistructured"), "did you mean 'semi_structured'?"),
        (lambda: mt.sparsify(model(), "2:4", backward="bi_directional"), "did you mean 'bidirectional'?"),
        (lambda: mt.mask(BATCH, "2:4", backend="gredy"), "got 'gredy'; did you mean 'greedy'?"),
        (lambda: mt.mask(BATCH, "2:4T"), "got '2:4T'; did you mean '2:4-T'?"),
        (lambda: mt.sparsify(model(), "2:4T"), "got '2:4T'; did you mean '2:4-T'?"),
    ],
)
def test_a_misspelt_value(call: Callable[[], object], message: str) -> None:
    with pytest.raises(ValueError, match=re.escape(message).replace(r"\.\*", ".*")):
        call()


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (
            lambda: mt.mask(model(), "2:4"),
            "w must be a torch.Tensor, got Sequential; sparsify and adaprune take",
        ),
        (
            lambda: mt.mask([[1.0, 2.0]], "1:2"),
            "w must be a torch.Tensor, got list; torch.as_tensor makes one",
        ),
        (
            lambda: mt.sparsify(BATCH, "2:4"),
            "model must be a torch Module, got Tensor; mask takes one weight",
        ),
        (lambda: mt.sparsify("2:4", model()), "got Sequential; the model comes first, then the pattern"),
        (lambda: mt.mask("2:4", BATCH), "got Tensor; the array comes first, then the pattern"),
    ],
)
def test_the_wrong_thing_in_the_right_place(call: Callable[[], object], message: str) -> None:
    with pytest.raises(TypeError, match=message):
        call()


def too_early(package: str) -> None:
    pytest.importorskip(package)
    module = importlib.import_module(f"masksolve.adapters.torch.integrations.{package}")
    made = module.SparsifyCallback("2:4")
    if package == "lightning":
        made.state_dict()
    else:
        made.on_optimizer_step(None, None, None)


@pytest.mark.parametrize(
    ("package", "message"),
    [
        ("lightning", "SparsifyCallback works in Trainer.fit only"),
        ("transformers", "SparsifyCallback was given to the Trainer after training had begun"),
    ],
)
def test_callbacks_before_training(package: str, message: str) -> None:
    with pytest.raises(RuntimeError, match=message):
        too_early(package)


@pytest.mark.parametrize(
    ("pattern", "message"),
    [
        ("2:4-T", "backward= is for one-directional patterns: '2:4-T' serves both passes"),
        ("4:8 pair", "backward= knows n:m along the inputs, without pairs, got '4:8 pair'"),
    ],
)
def test_passes_that_a_pattern_has_not(pattern: str, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        mt.sparsify(model(), pattern, backward="double_pruned")


def test_a_damaged_checkpoint_of_layers(tmp_path: Path) -> None:
    torch.manual_seed(0)
    network, data = model(), torch.randn(64, 8)
    mt.adaprune(copy.deepcopy(network), data, "2:4", checkpoint=tmp_path / "run")
    file = min((tmp_path / "run").glob("*.pt"))
    file.write_bytes(file.read_bytes()[:-40])
    message = re.escape(f"checkpoint file '{file}' cannot be read; delete it")
    with pytest.raises(ValueError, match=message):
        mt.adaprune(network, data, "2:4", checkpoint=tmp_path / "run")
