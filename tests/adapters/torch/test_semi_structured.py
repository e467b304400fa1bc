"""2:4 weights for sparse tensor cores: what is refused, what is handed over, and the products on a device."""

import numpy as np
import pytest

import masksolve as ms
from masksolve.hardware import cutlass_metadata

torch = pytest.importorskip("torch")

from small_models import perceptron  # noqa: E402
from torch.nn import functional  # noqa: E402

from masksolve.adapters import torch as mt  # noqa: E402
from masksolve.adapters.torch import semi_structured  # noqa: E402

conversions = pytest.importorskip("torch.sparse._semi_structured_conversions")

KERNELS = [("float16", "2:4"), ("bfloat16", "2:4"), ("int8", "2:4"), ("float32", "1:2")]


def pruned(dtype, pattern, shape=(128, 256), seed=0):
    """A weight and its optimal mask; small integers, so that every dtype holds them and many tie."""
    generator = torch.Generator().manual_seed(seed)
    weight = torch.randint(-9, 10, shape, generator=generator).to(getattr(torch, dtype))
    return weight, mt.mask(weight.float(), pattern)


def through_the_format(matrix):
    """Stand-in for torch's own conversion, which wants CUDA: into CUTLASS's format, and back."""
    packed = conversions.sparse_semi_structured_from_dense_cutlass(matrix)
    return conversions.sparse_semi_structured_to_dense_cutlass(*packed)


@pytest.mark.parametrize(("dtype", "pattern"), KERNELS)
@pytest.mark.parametrize("given", ["mask", "pattern"])
def test_both_passes_are_handed_over_unharmed(monkeypatch, dtype, pattern, given):
    weight, mask = pruned(dtype, f"{pattern}-T")
    expected = torch.where(mask, weight, 0)
    with pytest.raises(ValueError, match=r"weight must be on a CUDA device, .* got cpu"):
        mt.to_semi_structured(weight, mask)
    monkeypatch.setattr(torch.sparse, "to_sparse_semi_structured", through_the_format)
    monkeypatch.setattr(semi_structured, "_on_device", lambda matrix: True)
    halves = mt.to_semi_structured(*((weight, mask) if given == "mask" else (expected, f"{pattern}-T")))
    assert torch.equal(halves.weight, expected)
    assert torch.equal(halves.transposed, expected.T)
    forward_only = mt.to_semi_structured(expected, pattern)
    assert torch.equal(forward_only.weight, expected)
    assert forward_only.transposed is None


@pytest.mark.parametrize(("dtype", "pattern"), [each for each in KERNELS if each[0] != "bfloat16"])
def test_the_format_is_that_of_pack(dtype, pattern):
    """Values and metadata of both orientations, against torch's converter, bit for bit."""
    weight, _ = pruned(dtype, f"{pattern}-T")
    weight += weight == 0  # torch tells kept from dropped by zeros
    mask = mt.mask(weight.float(), f"{pattern}-T")
    matrix, checked = semi_structured.checked(weight, mask)
    packed = ms.pack(matrix.numpy(), mask.numpy(), f"{pattern}-T")
    assert str(checked) == f"{pattern}-T at_most"
    for side, dense in ((packed.rows, matrix), (packed.columns, matrix.T.contiguous())):
        values, metadata = conversions.sparse_semi_structured_from_dense_cutlass(dense)
        np.testing.assert_array_equal(side.values, values.numpy())
        np.testing.assert_array_equal(cutlass_metadata(side), metadata.numpy())


def broken(row, column):
    """A 2:4-T matrix with one entry too many at a place."""
    weight, mask = pruned("float16", "2:4-T", (8, 8))
    weight = torch.where(mask, weight.abs() + 1, 0)
    weight[row, column] = 1
    assert not mask[row, column]
    return weight


def test_the_first_violation_is_named():
    _, mask = pruned("float16", "2:4-T", (8, 8))
    row, column = (int(each) for each in torch.nonzero(~mask)[-1])
    weight = broken(row, column)
    expected = f"tile {2 * (row // 4) + column // 4}, row {row % 4} keeps 3, expected at most 2"
    for second in ("2:4-T", weight != 0):
        with pytest.raises(ms.PatternViolationError, match=expected):
            mt.to_semi_structured(weight, second)
    with pytest.raises(ms.PatternViolationError, match=f"group {2 * row + column // 4} keeps 3"):
        mt.to_semi_structured(weight, "2:4")


def test_a_mask_for_the_forward_pass_alone_is_refused_for_both():
    weight = torch.tensor([[1.0, 2.0, 0.0, 0.0]] * 4, dtype=torch.float16)
    with pytest.raises(ms.PatternViolationError, match="tile 0, column 0 keeps 4, expected at most 2"):
        mt.to_semi_structured(weight)
    matrix, pattern = semi_structured.checked(weight, "2:4")
    assert torch.equal(matrix, weight)
    assert not pattern.transposable


HALF = torch.zeros(8, 8, dtype=torch.float16)


@pytest.mark.parametrize(
    ("weight", "second", "error", "message"),
    [
        ([[1.0]], "2:4", TypeError, "weight must be a tensor, got list"),
        (HALF[0], "2:4", ValueError, r"weight must be a matrix .* got shape \(8,\)"),
        (HALF.double(), "2:4", TypeError, "weight must be float16.* got torch.float64"),
        (HALF.float(), "2:4", ValueError, "pattern must be '1:2' or '1:2-T' for torch.float32, got '2:4'"),
        (HALF, "4:8-T", ValueError, "pattern must be '2:4' or '2:4-T' for torch.float16, got '4:8-T'"),
        (HALF, "2:4 axis=-2", ValueError, "got '2:4 axis=-2'"),
        (HALF, HALF, TypeError, "mask must be boolean, got dtype torch.float16"),
        (HALF, HALF[:4] > 0, ValueError, r"mask must have the weight's shape \(8, 8\), got \(4, 8\)"),
    ],
)
def test_bad_input_is_refused(weight, second, error, message):
    with pytest.raises(error, match=message):
        mt.to_semi_structured(weight, second)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="semi-structured kernels need a CUDA device")
@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
def test_products_of_both_passes_on_a_device(dtype):
    model = perceptron(width=128).cuda()
    inputs = torch.randn(64, 128, device="cuda", dtype=getattr(torch, dtype))
    gradient = torch.randn(64, 256, device="cuda", dtype=getattr(torch, dtype))
    sparsifier = mt.sparsify(model, "2:4-T")
    weight = sparsifier.finalize()[2].weight.detach().to(inputs.dtype)
    halves = mt.to_semi_structured(weight, "2:4-T")
    for product, expected in (
        (functional.linear(inputs, halves.weight), inputs.float() @ weight.float().T),
        (functional.linear(gradient, halves.transposed), gradient.float() @ weight.float()),
    ):
        torch.testing.assert_close(product.float(), expected, rtol=2e-2, atol=2e-2)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_sparse_training_on_a_device():
    model = perceptron(width=64).cuda()
    sparsifier = mt.sparsify(model, "4:8-T", refresh_every=2, decay=2e-4)
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-3)
    inputs = torch.randn(32, 8, device="cuda")
    for _ in range(6):
        optimizer.zero_grad()
        model(inputs).square().mean().backward()
        optimizer.step()
        sparsifier.step()
    mask = sparsifier.masks["2"]
    assert mask.is_cuda
    assert ms.verify(mask.cpu().numpy(), "4:8-T").ok
    best = ms.solve(sparsifier.dense_weights["2"].detach().abs().cpu().numpy(), "4:8-T").objective
    kept = sparsifier.dense_weights["2"].detach().abs()[mask].double().sum().item()
    assert kept == pytest.approx(best, rel=1e-6)
    sparsifier.finalize()
