"""Fingerprints of functions: the same code is the same, other code or other values are not."""

import functools

import numpy as np
import pytest

torch = pytest.importorskip("torch")
from small_models import perceptron  # noqa: E402

from masksolve.adapters import torch as mt  # noqa: E402
from masksolve.adapters.torch.pruning.fingerprint import function_digest  # noqa: E402

SCALE = 2.0
TABLE = np.arange(3)


def helper(x):
    return x * SCALE


def digest(function):
    return function_digest("saliency", function)


def closing_over(value):
    return lambda w, seen: w * value


def test_equal_functions_are_equal():
    assert digest(lambda w, seen: w) == digest(lambda w, seen: w)
    assert digest(closing_over(1.0)) == digest(closing_over(1.0))
    assert digest(closing_over(torch.ones(2))) == digest(closing_over(torch.ones(2)))
    assert digest(functools.partial(helper, x=1)) == digest(functools.partial(helper, x=1))
    assert digest(torch.abs) == digest(torch.abs)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (lambda w, seen: w, lambda w, seen: -w),
        (lambda w, seen: w * 1.0, lambda w, seen: w * 2.0),
        (lambda w, seen, k=1: w, lambda w, seen, k=2: w),
        (closing_over(1.0), closing_over(2.0)),
        (closing_over([1, (2, {"a": 3})]), closing_over([1, (2, {"a": 4})])),
        (closing_over(np.zeros(2)), closing_over(np.ones(2))),
        (closing_over(torch.zeros(2)), closing_over(torch.zeros(3))),
        (functools.partial(helper, 1), functools.partial(helper, 2)),
        (lambda w, seen: [x + 1 for x in w], lambda w, seen: [x + 2 for x in w]),
        (torch.abs, torch.sqrt),
    ],
)
def test_other_functions_are_others(one, other):
    assert digest(one) != digest(other)


def test_values_that_a_function_refers_to_count(monkeypatch):
    functions = [lambda w, seen: w * SCALE, lambda w, seen: helper(w), lambda w, seen: w + TABLE]
    before = [digest(each) for each in functions]
    monkeypatch.setitem(globals(), "SCALE", 3.0)
    monkeypatch.setitem(globals(), "TABLE", np.arange(4))
    assert all(digest(each) != first for each, first in zip(functions, before, strict=True))


def test_what_cannot_be_told_apart_is_refused():
    class Callable:
        def __call__(self, w, seen):
            return w

    for each in (Callable(), closing_over(object())):
        with pytest.raises(ValueError, match="saliency cannot be told apart from others, which checkpoint="):
            digest(each)


X = torch.randn(40, 8, generator=torch.Generator().manual_seed(0))


def test_a_checkpoint_knows_forward_and_saliency(tmp_path):
    def prune(scale, shift, **options):
        return mt.adaprune(
            perceptron(),
            [(X, X)],
            "2:4",
            saliency=lambda w, seen: w.abs() * scale,
            forward=lambda model, batch: model(batch[0] + shift),
            **options,
        )

    prune(1.0, 0.0, checkpoint=tmp_path / "run")
    prune(1.0, 0.0, checkpoint=tmp_path / "run")
    with pytest.raises(ValueError, match=r"differs in \['saliency'\]"):
        prune(2.0, 0.0, checkpoint=tmp_path / "run")
    with pytest.raises(ValueError, match=r"differs in \['forward'\]"):
        prune(1.0, 1.0, checkpoint=tmp_path / "run")
