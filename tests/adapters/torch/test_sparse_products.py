"""2:4-T layers on sparse kernels: which ones and why not, and products equal to the dense ones.

The kernels themselves want a GPU; a stand-in that keeps matrices dense, and checks that they are 2:4, takes
their place elsewhere.
"""

from __future__ import annotations

import copy
import pickle
import re

import pytest

import masksolve as ms

torch = pytest.importorskip("torch")

from masksolve.adapters import torch as mt  # noqa: E402
from masksolve.adapters.torch.training import sparse_products  # noqa: E402

needs_a_gpu = pytest.mark.skipif(
    not torch.cuda.is_available(), reason="sparse tensor cores need a CUDA device"
)


def network(dtype=torch.bfloat16):
    torch.manual_seed(0)
    layers = [torch.nn.Linear(64, 128), torch.nn.GELU(), torch.nn.Linear(128, 64, bias=False)]
    return torch.nn.Sequential(*layers).to(dtype)


@pytest.fixture
def packed(monkeypatch):
    """Let a stand-in run anywhere; gives the shapes of the matrices that it packed."""
    shapes = []

    def pack(matrix):
        assert matrix.is_contiguous()
        assert ms.verify(matrix != 0, "2:4 at_most").ok
        shapes.append(tuple(matrix.shape))
        return matrix.clone()

    monkeypatch.setattr(sparse_products, "TENSOR_CORES", sparse_products.Kernels(lambda weight: "", pack))
    return shapes


def sparsified(model, kernels="semi_structured", pattern="2:4-T", **options):
    return mt.sparsify(model, pattern, dense_ends=False, kernels=kernels, **options)


def gradients(model, x):
    x = x.clone().requires_grad_()
    y = model(x)
    y.float().square().sum().backward()
    return [y, x.grad, *(parameter.grad for parameter in model.parameters())]


@pytest.mark.parametrize("refresh_every", [None, 5])
@pytest.mark.parametrize("shape", [(5, 64), (2, 3, 64)])
def test_both_passes_equal_the_dense_ones(packed, refresh_every, shape):
    x = torch.randn(shape, generator=torch.Generator().manual_seed(1)).to(torch.bfloat16)
    options = {"refresh_every": refresh_every, "decay": 2e-4 if refresh_every else 0.0}
    found = []
    for kernels in ("dense", "semi_structured"):
        model = network()
        sparsified(model, kernels, **options)
        found.append(gradients(model, x))
    assert packed == [(64, 128), (128, 64), (128, 64), (64, 128)]
    for dense, sparse in zip(*found, strict=True):
        torch.testing.assert_close(sparse, dense, rtol=1e-2, atol=1e-2)


def test_weights_are_packed_as_they_are_at_each_pass(packed):
    """Also if an optimizer writes past torch's counter of changes."""
    models = [network(), network()]
    for model, kernels in zip(models, ("dense", "semi_structured"), strict=True):
        sparsifier = sparsified(model, kernels, refresh_every=1)
        for weight in sparsifier.dense_weights.values():
            weight.data.mul_(torch.linspace(0.5, 2, weight.shape[1], dtype=weight.dtype))
        assert sparsifier.step()
    x = torch.ones(4, 64, dtype=torch.bfloat16)
    torch.testing.assert_close(models[0](x), models[1](x), rtol=1e-2, atol=1e-2)


def test_autocast_decides_for_float32(packed):
    model = network(torch.float32)
    sparsifier = sparsified(model)
    x = torch.randn(8, 64)
    dense = model(x)
    assert not packed
    with torch.autocast("cpu", torch.bfloat16):
        sparse = model(x)
    assert len(packed) == 3  # the first layer's inputs need no gradient
    assert sparse.dtype == torch.bfloat16
    torch.testing.assert_close(sparse.float(), dense, rtol=2e-2, atol=2e-2)
    sparse.float().sum().backward()
    assert all(weight.grad.dtype == torch.float32 for weight in sparsifier.dense_weights.values())
    assert "sparse products under autocast" in str(sparsifier.report())


def test_copies_and_pickles_go_on_and_finalize_ends_it(packed):
    model = network()
    sparsifier = sparsified(model)
    x = torch.ones(2, 64, dtype=torch.bfloat16)
    for twin in (copy.deepcopy(model), pickle.loads(pickle.dumps(model))):
        before = len(packed)
        assert torch.equal(twin(x), model(x))
        assert len(packed) == before + 6
    finished = sparsifier.finalize()
    before = len(packed)
    assert type(finished[0]) is torch.nn.Linear
    finished(x)
    assert len(packed) == before


def test_a_ramp_is_dense_until_it_is_2_4(packed):
    model = network()
    sparsifier = sparsified(model, refresh_every=1, density=mt.CubicRamp(final=0.5, steps=2))
    x = torch.ones(2, 64, dtype=torch.bfloat16)
    model(x)
    assert not packed
    assert "dense products: it follows '4:4-T'" in str(sparsifier.report())
    sparsifier.step(), sparsifier.step()
    model(x)
    assert packed


def test_compiled_models_compute_dense_products(packed):
    model = network()
    sparsified(model)
    x = torch.ones(2, 64, dtype=torch.bfloat16)
    compiled = torch.compile(model, backend="eager", fullgraph=True)
    expected, before = model(x), len(packed)
    try:
        torch.testing.assert_close(compiled(x), expected, rtol=1e-2, atol=1e-2)
    finally:
        torch._dynamo.reset()  # other tests count compilations
    assert len(packed) == before


class Scaled(torch.nn.Linear):
    """A layer with a forward of its own."""

    def forward(self, x):
        return 2 * super().forward(x)


@pytest.mark.parametrize(
    ("layer", "pattern", "reason"),
    [
        (torch.nn.Linear(64, 64), "2:4-T", "is on cpu, and sparse tensor cores are those of a CUDA device"),
        (torch.nn.Linear(64, 64), "2:4", "follows '2:4', and both passes run on 2:4-T"),
        (torch.nn.Linear(64, 64), "4:8-T", "follows '4:8-T'"),
        (torch.nn.Linear(64, 64), "2:4 x 4:8", "follows '2:4 x 4:8', and both passes run on 2:4-T"),
        (torch.nn.Linear(64, 40), "2:4-T", "has no shape that they take: .* 40x64 is no multiple of 16x16"),
        (torch.nn.Conv2d(64, 64, 1), "2:4-T", "is not the weight of a torch.nn.Linear"),
        (Scaled(64, 64), "2:4-T", "belongs to a Scaled, whose forward is its own"),
    ],
)
def test_the_report_says_why_products_are_dense(layer, pattern, reason):
    model = torch.nn.Sequential(layer)
    sparsifier = sparsified(model, pattern=pattern)
    (row,) = sparsifier.report().layers
    assert re.match(f"dense products: it {reason}", row.note)
    x = torch.ones(2, 64, 1, 1) if isinstance(layer, torch.nn.Conv2d) else torch.ones(2, 64)
    assert model(x).shape[0] == 2


def test_bad_names_are_refused():
    with pytest.raises(ValueError, match="kernels must be"):
        sparsified(network(), kernels="sparse")


@needs_a_gpu
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_a_step_on_sparse_tensor_cores(dtype):
    found = []
    for kernels in ("dense", "semi_structured"):
        model = network(dtype).cuda()
        sparsifier = sparsified(model, kernels, refresh_every=1)
        x = torch.randn((32, 64), generator=torch.Generator().manual_seed(1)).to("cuda", dtype)
        found.append(gradients(model, x))
    assert "sparse products" in str(sparsifier.report())
    for dense, sparse in zip(*found, strict=True):
        torch.testing.assert_close(sparse, dense, rtol=2e-2, atol=2e-2)
