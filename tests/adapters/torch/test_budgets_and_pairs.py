"""Mixed budgets and pairs in the torch adapter: masks of layers follow them, kernels without them say so."""

from dataclasses import replace

import pytest

import masksolve as ms

torch = pytest.importorskip("torch")

from torch import nn  # noqa: E402

from masksolve.adapters import torch as mt  # noqa: E402
from masksolve.adapters.torch.training.schedule import pattern_at  # noqa: E402

PATTERNS = ("2:4 x 4:8", "2:4 x 6:8 at_most", "4:8 pair", "4:8 pair axis=-2", "4:8-T pair")


@pytest.mark.parametrize("text", PATTERNS)
def test_layers_are_masked(text):
    torch.manual_seed(0)
    assert ms.verify(mt.mask(torch.randn(16, 32), text).numpy(), text).ok
    model = nn.Sequential(nn.Linear(32, 16), nn.Linear(16, 24), nn.Linear(24, 8))
    sparsifier = mt.sparsify(model, text, refresh_every=1)
    sparsifier.step()
    sparsifier.finalize()
    weight, pattern = model[1].weight.detach(), replace(ms.Pattern(text), constraint="at_most")
    assert ms.verify(weight.numpy(), pattern).ok
    assert 0 < int((weight != 0).sum()) <= weight.numel() // 2


@pytest.mark.parametrize("text", PATTERNS)
def test_sparse_kernels_refuse_them(text):
    with pytest.raises(ValueError, match="pattern must be '2:4' or '2:4-T'"):
        mt.to_semi_structured(torch.zeros(32, 64, dtype=torch.float16), text)


def test_ramps_keep_the_shares_equal():
    pattern = ms.Pattern("2:4 x 4:8")
    assert [str(pattern_at(pattern, lambda _, d=d: d, 0)) for d in (1.0, 0.6, 0.5)] == [
        "4:4 x 8:8", "3:4 x 6:8", "2:4 x 4:8"
    ]  # fmt: skip
