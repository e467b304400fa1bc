"""masksolve.adapters.torch.mask: an operator that compiles, exports, traces and batches."""

import itertools

import numpy as np
import pytest
from assertions import assert_feasible

import masksolve as ms

torch = pytest.importorskip("torch")

from masksolve.adapters import torch as mt  # noqa: E402

PATTERN = "4:8-T"
SHAPES = {
    "linear": ((16, 24), PATTERN),
    "linear_one_way": ((6, 24), "2:4"),
    "linear_outputs": ((24, 6), "2:4 axis=-2"),
    "conv1d": ((16, 8, 3), PATTERN),
    "conv2d": ((16, 24, 3, 2), PATTERN),
    "conv3d": ((8, 8, 1, 2, 2), "1:2-T"),
    "padded": ((9, 11, 2), "3:4-T at_most pad"),
    "dense_tail": ((9, 11), "3:4-T dense"),
    "empty": ((0, 8), PATTERN),
}
SOME = pytest.mark.parametrize(("shape", "pattern"), SHAPES.values(), ids=SHAPES)


pytestmark = pytest.mark.usefixtures("one_thread")


def gaussian(*shape: int, seed: int = 0) -> "torch.Tensor":
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


def kept(w: "torch.Tensor", mask: "torch.Tensor") -> float:
    return float(w.detach().abs().double()[mask].sum())


def assert_optimal(mask: "torch.Tensor", w: "torch.Tensor", pattern: str) -> None:
    """The mask of every place of the kernel is feasible, and keeps what a solve of that matrix keeps."""
    assert mask.shape == w.shape
    assert mask.dtype == torch.bool
    assert mask.is_contiguous()
    for place in itertools.product(*(range(length) for length in w.shape[2:])):
        matrix, part = w.detach()[:, :, *place].abs(), mask[:, :, *place]
        assert_feasible(part.numpy(), ms.Pattern.parse(pattern))
        assert kept(matrix, part) == pytest.approx(ms.solve(matrix.numpy(), pattern).objective, rel=1e-9)


def pruned(w: "torch.Tensor") -> "torch.Tensor":
    return w * mt.mask(w, PATTERN)


@SOME
def test_every_place_of_a_kernel_is_a_matrix(shape: tuple[int, ...], pattern: str) -> None:
    w = gaussian(*shape)
    assert_optimal(mt.mask(w, pattern, plane=mt.Plane()), w, pattern)
    assert_optimal(mt.mask(w, ms.Pattern.parse(pattern), backend="batched", plane=mt.Plane()), w, pattern)


@pytest.mark.parametrize(
    "layer",
    [
        torch.nn.Linear(24, 16),
        torch.nn.Conv1d(24, 16, 3),
        torch.nn.Conv2d(24, 16, 3),
        torch.nn.Conv3d(8, 8, 2),
    ],
    ids=lambda layer: type(layer).__name__,
)
def test_weights_of_layers(layer: "torch.nn.Module") -> None:
    mask = mt.mask(layer.weight, PATTERN)
    assert not mask.requires_grad
    assert_optimal(mask, layer.weight, PATTERN)


@pytest.mark.parametrize("memory", [torch.channels_last, torch.contiguous_format])
def test_memory_formats(memory: "torch.memory_format") -> None:
    w = gaussian(16, 8, 3, 3).to(memory_format=memory)
    assert_optimal(mt.mask(w, PATTERN), w, PATTERN)
    assert_optimal(mt.mask(w.transpose(0, 1), PATTERN), w.transpose(0, 1), PATTERN)


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.float16, torch.bfloat16])
def test_floating_dtypes(dtype: "torch.dtype") -> None:
    w = gaussian(16, 24).to(dtype)
    found = mt.mask(w, PATTERN)
    best = ms.solve(np.abs(w.double().numpy()), PATTERN)
    assert kept(w, found) == pytest.approx(best.objective, rel=1e-6)


@pytest.mark.parametrize(
    "dtype",
    ["int8", "int16", "int32", "int64", "uint8", "uint16", "uint32", "uint64", "bool"],
)
def test_integer_dtypes_hold_the_magnitude_of_the_most_negative(dtype: str) -> None:
    least = np.iinfo(dtype).min if dtype.startswith("int") else 0
    values = np.arange(4 * 8).reshape(4, 8).astype(dtype)
    values[0, 0] = least
    mask = mt.mask(torch.from_numpy(values), "1:8").numpy()
    size = ms.saliency.magnitude(values)
    best = ms.solve(size, "1:8")
    assert size.astype(np.float64)[mask].sum() == best.objective


def test_backends_and_workers_are_passed_on() -> None:
    w = gaussian(16, 24)
    greedy = mt.mask(w, PATTERN, backend="greedy")
    assert kept(w, greedy) == pytest.approx(ms.solve(w.abs().numpy(), PATTERN, backend="greedy").objective)
    assert kept(w, greedy) < kept(w, mt.mask(w, PATTERN, workers=2))


@SOME
@pytest.mark.parametrize("requires_grad", [False, True])
def test_opcheck(shape: tuple[int, ...], pattern: str, requires_grad: bool) -> None:
    w = gaussian(*shape).requires_grad_(requires_grad)
    outcome = torch.library.opcheck(torch.ops.masksolve.mask.default, (w, pattern, "auto", 1))
    assert set(outcome.values()) == {"SUCCESS"}


@pytest.mark.filterwarnings("ignore:`torch.jit.script` is deprecated:DeprecationWarning")
def test_gradients_pass_by_the_mask() -> None:
    w = gaussian(16, 24).requires_grad_()
    pruned(w).square().sum().backward()
    expected = torch.where(mt.mask(w, PATTERN), 2 * w.detach(), 0.0)
    torch.testing.assert_close(w.grad, expected)
    torch.testing.assert_close(torch.func.grad(lambda x: pruned(x).square().sum())(w.detach()), expected)
    with torch.no_grad():
        assert not pruned(w).requires_grad
    _, tangent = torch.func.jvp(pruned, (w.detach(),), (torch.ones_like(w),))
    torch.testing.assert_close(tangent, mt.mask(w, PATTERN).float())


def test_the_operator_itself_gives_no_gradient() -> None:
    w = gaussian(16, 24).requires_grad_()
    assert not torch.ops.masksolve.mask(w, PATTERN, "auto", 1).requires_grad


def test_double_backward_and_checkpoint() -> None:
    w = gaussian(16, 24).requires_grad_()
    (first,) = torch.autograd.grad(pruned(w).pow(3).sum(), w, create_graph=True)
    (second,) = torch.autograd.grad(first.sum(), w)
    torch.testing.assert_close(second, torch.where(mt.mask(w, PATTERN), 6 * w.detach(), 0.0))
    again = torch.utils.checkpoint.checkpoint(lambda x: pruned(x).square().sum(), w, use_reentrant=False)
    (checkpointed,) = torch.autograd.grad(again, w)
    torch.testing.assert_close(checkpointed, 2 * pruned(w.detach()))


@pytest.mark.parametrize("dynamic", [False, True])
def test_compiles_without_a_break(dynamic: bool) -> None:
    compiled = torch.compile(pruned, fullgraph=True, backend="aot_eager", dynamic=dynamic)
    for shape in ((16, 24), (32, 8)):
        w, again = gaussian(*shape).requires_grad_(), gaussian(*shape).requires_grad_()
        torch.testing.assert_close(compiled(w), pruned(w))
        compiled(again).square().sum().backward()
        torch.testing.assert_close(again.grad, 2 * pruned(w.detach()))


def test_compiles_with_patterns_in_hand_and_convolutions() -> None:
    pattern = ms.Pattern.parse("2:4 axis=-2")
    compiled = torch.compile(lambda w: mt.mask(w, pattern), fullgraph=True, backend="aot_eager")
    w = gaussian(8, 6, 3, 3)
    assert_optimal(compiled(w), w, str(pattern))


@pytest.mark.filterwarnings("ignore")  # what inductor says about itself
def test_compiles_with_inductor() -> None:
    w = gaussian(16, 24)
    torch.testing.assert_close(torch.compile(pruned, fullgraph=True)(w), pruned(w))


class Layer(torch.nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.linear = torch.nn.Linear(24, 16)

    def forward(self, x: "torch.Tensor") -> "torch.Tensor":
        return torch.nn.functional.linear(x, pruned(self.linear.weight), self.linear.bias)


def test_exports() -> None:
    layer, x = Layer(), gaussian(2, 24)
    program = torch.export.export(layer, (x,))
    assert torch.ops.masksolve.mask.default in {node.target for node in program.graph.nodes}
    torch.testing.assert_close(program.module()(x), layer(x))


@SOME
def test_fake_and_meta_tensors_have_shapes_only(shape: tuple[int, ...], pattern: str) -> None:
    from torch._subclasses import FakeTensorMode

    with FakeTensorMode():
        fake = mt.mask(torch.empty(shape), pattern, plane=mt.Plane())
    real = mt.mask(torch.empty(shape, device="meta"), pattern, plane=mt.Plane())
    for mask in (fake, real):
        assert mask.shape == shape
        assert mask.dtype == torch.bool


@pytest.mark.parametrize(("dim", "out"), [(0, 0), (1, 2), (-1, -1)])
@pytest.mark.parametrize("shape", [(16, 8), (16, 8, 3)])
def test_vmap_solves_a_batch_of_weights(shape: tuple[int, ...], dim: int, out: int) -> None:
    batch = gaussian(4, *shape)
    given = batch.movedim(0, dim)
    masks = torch.vmap(lambda w: mt.mask(w, PATTERN), in_dims=dim, out_dims=out)(given).movedim(out, 0)
    for w, mask in zip(batch, masks, strict=True):
        assert_optimal(mask.contiguous(), w, PATTERN)


def test_vmap_is_one_solve_and_nests(monkeypatch: pytest.MonkeyPatch) -> None:
    shapes = []
    solve = ms.solve

    def watched(scores, *args, **options):
        shapes.append(tuple(scores.shape))
        return solve(scores, *args, **options)

    monkeypatch.setattr(ms, "solve", watched)
    batch = gaussian(2, 3, 16, 8)
    masks = torch.vmap(torch.vmap(lambda w: mt.mask(w, PATTERN)))(batch)
    assert len(shapes) == 1
    assert kept(batch, masks) == pytest.approx(solve(batch.abs().numpy(), PATTERN).objective)
    gradient = torch.vmap(torch.func.grad(lambda w: pruned(w).sum()))(batch[0])
    torch.testing.assert_close(gradient, masks[0].float())


@pytest.mark.parametrize(
    ("make", "arguments", "error", "message"),
    [
        (lambda: gaussian(16), {}, ValueError, r"w must be a weight \(outputs, inputs\)"),
        (lambda: gaussian(16, 20), {}, ValueError, "m=8 does not divide"),
        (lambda: gaussian(16, 24) / 0, {}, ValueError, "scores must be finite"),
        (lambda: gaussian(16, 24), {"pattern": "9:8"}, ValueError, "n must be between 1 and m=8"),
        (lambda: gaussian(16, 24), {"pattern": 4}, TypeError, "pattern must be a Pattern or a string"),
        (
            lambda: gaussian(16, 24),
            {"pattern": "2:4 axis=0"},
            ValueError,
            r"axis must be -1 or -2",
        ),
        (lambda: gaussian(16, 24), {"workers": 0}, ValueError, "workers must be at least 1"),
        (lambda: gaussian(16, 24), {"backend": "best"}, ValueError, "backend must be one of"),
        (lambda: gaussian(16, 24), {"backend": "enumerate"}, ms.BackendRefusedError, "m <= 4|m ≤ 4"),
        (lambda: gaussian(16, 24).numpy(), {}, TypeError, "w must be a torch.Tensor, got ndarray"),
        (lambda: gaussian(16, 24).to_sparse(), {}, TypeError, r"call its to_dense\(\) first"),
        (lambda: gaussian(16, 24).to(torch.complex64), {}, TypeError, "torch.complex64"),
        (lambda: gaussian(16, 24).to(torch.float8_e5m2), {}, TypeError, "torch.float8_e5m2"),
    ],
)
def test_wrong_arguments_are_refused(make, arguments, error, message) -> None:
    with pytest.raises(error, match=message):
        mt.mask(make(), **{"pattern": PATTERN, **arguments})


def test_matrices_are_views_and_come_back() -> None:
    for shape in ((4, 5), (4, 5, 3), (4, 5, 3, 2)):
        w = gaussian(*shape)
        matrices = mt.as_matrices(w)
        assert matrices.shape == (*shape[2:], 4, 5)
        assert matrices.data_ptr() == w.data_ptr()
        assert torch.equal(mt.from_matrices(matrices), w)
        assert mt.from_matrices(matrices).is_contiguous()


def test_columns_for_all_rows_of_a_tile() -> None:
    w = torch.randn(64, 32, generator=torch.Generator().manual_seed(0))
    kept = mt.mask(w, "16:2:8")
    assert ms.verify(kept.numpy(), "16:2:8").ok
    assert torch.equal(torch.func.vmap(lambda each: mt.mask(each, "16:2:8"))(w[None])[0], kept)
