"""torch tensors of every layout and kind: read in place, or refused with what to do instead."""

import sys
from typing import ClassVar

import frameworks
import ml_dtypes
import numpy as np
import pytest
from assertions import assert_optimal

import masksolve as ms

torch = pytest.importorskip("torch")

from masksolve.frameworks import torch as adapter  # noqa: E402

PATTERN = "4:8-T"


def gaussian(*shape: int) -> "torch.Tensor":
    return torch.randn(shape or (16, 24), generator=torch.Generator().manual_seed(0))


class Subclass(torch.Tensor):
    """Notes what is asked of it, and gives its own kind back."""

    asked: ClassVar[list[str]] = []

    @classmethod
    def __torch_function__(cls, function, types, args=(), kwargs=None):
        cls.asked.append(getattr(function, "__name__", ""))
        return super().__torch_function__(function, types, args, kwargs or {})


def negative_bit() -> "torch.Tensor":
    view = torch.complex(gaussian(), gaussian()).conj().imag
    assert view.is_neg()
    return view


LAYOUTS = {
    "transposed": lambda: gaussian().T,
    "strided": lambda: gaussian(32, 48)[::2, ::2],
    "offset": lambda: gaussian(17, 25)[1:, 1:],
    "expanded": lambda: gaussian(24).expand(16, 24),
    "permuted": lambda: gaussian(2, 16, 24, 3).permute(3, 0, 2, 1),
    "channels_last": lambda: gaussian(2, 3, 16, 24).to(memory_format=torch.channels_last),
    "negative_bit": negative_bit,
    "conjugate_real": lambda: torch.complex(gaussian(), gaussian()).conj().real,
    "requires_grad": lambda: gaussian().requires_grad_(),
    "of_a_graph": lambda: gaussian().requires_grad_() * 2,
    "parameter": lambda: torch.nn.Parameter(gaussian()),
    "buffer": lambda: torch.nn.Buffer(gaussian()),
    "subclass": lambda: gaussian().as_subclass(Subclass),
    "inference": torch.inference_mode()(gaussian),
    "shared": lambda: gaussian().share_memory_(),
    "bfloat16_transposed": lambda: gaussian().bfloat16().T,
}


@pytest.mark.parametrize("layout", LAYOUTS)
def test_every_layout_is_solved(layout: str) -> None:
    scores = LAYOUTS[layout]()
    found = ms.solve(scores, PATTERN)
    assert type(found.mask) is torch.Tensor
    assert found.mask.shape == scores.shape
    assert not found.mask.requires_grad
    host = scores.detach().resolve_neg().as_subclass(torch.Tensor).float().numpy()
    assert ms.verify(found.mask, PATTERN).ok
    assert found.objective == pytest.approx(ms.solve(host, PATTERN).objective, rel=1e-12)
    assert found.objective == pytest.approx(host.astype(np.float64)[found.mask.numpy()].sum(), rel=1e-12)


def test_keep_and_drop_of_every_layout() -> None:
    scores, keep = gaussian(24, 24), torch.eye(24, dtype=torch.bool)
    drop = torch.nn.Parameter(keep.roll(1, 0).T, requires_grad=False).as_subclass(Subclass)
    for backend in ("auto", "batched"):
        found = ms.solve(scores, PATTERN, keep=keep, drop=drop, backend=backend)
        assert found.mask[keep].all()
        assert not found.mask[drop.as_subclass(torch.Tensor)].any()


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.float16, torch.int8, torch.bool])
def test_tensors_are_read_in_place(dtype: "torch.dtype") -> None:
    tensor = (8 * gaussian(32, 48)).to(dtype)
    for view in (tensor, tensor.T, tensor[3:, 5:], tensor[::2], tensor[0].expand(4, 48)):
        array = adapter.to_numpy("scores", view)
        assert array.shape == view.shape
        assert array.__array_interface__["data"][0] == view.data_ptr()
        assert [step * tensor.itemsize for step in view.stride()] == list(array.strides)
    parameter = torch.nn.Parameter(gaussian())
    assert adapter.to_numpy("scores", parameter).__array_interface__["data"][0] == parameter.data_ptr()


def test_bfloat16_is_read_in_place() -> None:
    tensor = gaussian(32, 48).bfloat16().T[2:]
    array = adapter.to_numpy("scores", tensor)
    assert array.dtype == ml_dtypes.bfloat16
    assert array.__array_interface__["data"][0] == tensor.data_ptr()
    np.testing.assert_array_equal(array.astype(np.float32), tensor.float().numpy())


def test_bfloat16_without_ml_dtypes(monkeypatch: pytest.MonkeyPatch) -> None:
    tensor = gaussian().bfloat16()
    monkeypatch.setitem(sys.modules, "ml_dtypes", None)
    assert adapter.to_numpy("scores", tensor).dtype == np.float32
    found = ms.solve(tensor, PATTERN)
    assert found.mask.dtype == torch.bool
    assert found.objective == pytest.approx(ms.solve(tensor.float(), PATTERN).objective, rel=1e-12)


def test_masks_are_given_in_place() -> None:
    array = np.ones((4, 4), bool)
    assert adapter.from_numpy(array, gaussian()).data_ptr() == array.__array_interface__["data"][0]


def test_solving_writes_nothing_and_builds_no_graph() -> None:
    scores = gaussian().requires_grad_()
    before = scores.detach().clone()
    mask = ms.solve(scores, PATTERN).mask
    assert torch.equal(scores.detach(), before)
    (scores * mask).sum().backward()
    assert torch.equal(scores.grad, mask.float())


def test_a_subclass_is_not_asked_to_compute() -> None:
    Subclass.asked.clear()
    ms.solve(gaussian().as_subclass(Subclass), PATTERN)
    assert set(Subclass.asked) <= {"__get__", "is_complex", "is_floating_point"}


def test_default_device_and_dtype_do_not_matter() -> None:
    scores = gaussian()
    with torch.device("meta"):
        mask = ms.solve(scores, PATTERN).mask
    assert mask.device.type == "cpu"


def two_tensors() -> "torch.Tensor":
    from torch.testing._internal.two_tensor import TwoTensor

    return TwoTensor(gaussian(), gaussian())


def fake() -> "torch.Tensor":
    from torch._subclasses import FakeTensorMode

    with FakeTensorMode():
        return torch.ones(16, 24)


def quantised() -> "torch.Tensor":
    ones, zeros = torch.ones(16), torch.zeros(16, dtype=torch.int64)
    return torch.quantize_per_channel(gaussian(), ones, zeros, 0, torch.qint8)


REFUSED = {
    "coo": (lambda: gaussian().to_sparse(), r"to_dense\(\)"),
    "csr": (lambda: gaussian().to_sparse_csr(), r"to_dense\(\)"),
    "mkldnn": (lambda: gaussian().to_mkldnn(), r"to_dense\(\)"),
    "quantised": (quantised, r"qint8\); call its dequantize\(\)"),
    "nested": (lambda: torch.nested.nested_tensor([gaussian()], layout=torch.jagged), "one by one"),
    "meta": (lambda: gaussian().to("meta"), "meta device; materialise the model first"),
    "fake": (fake, r"masksolve\.adapters\.torch\.mask"),
    "wrapper": (two_tensors, "TwoTensor, which wraps others; unwrap it first"),
    "float8": (
        lambda: gaussian().to(torch.float8_e4m3fn),
        "float8_e4m3fn; convert it to real numbers",
    ),
    "complex": (lambda: gaussian().to(torch.complex64), "torch.complex64; convert it to real numbers"),
}


@pytest.mark.filterwarnings("ignore:Sparse CSR:UserWarning", "ignore:.*quantize_per:UserWarning")
@pytest.mark.parametrize("kind", REFUSED)
@pytest.mark.parametrize("backend", ["auto", "batched", "greedy"])
def test_tensors_without_entries_are_refused(kind: str, backend: str) -> None:
    make, remedy = REFUSED[kind]
    with pytest.raises(TypeError, match=rf"^scores must be a dense tensor with values, got .*{remedy}"):
        ms.solve(make(), PATTERN, backend=backend)


@pytest.mark.parametrize(
    "transform",
    [
        lambda solve: torch.vmap(solve)(gaussian(2, 16, 24)),
        lambda solve: torch.func.grad(lambda x: (x * solve(x)).sum())(gaussian()),
        lambda solve: torch.func.functionalize(solve)(gaussian()),
    ],
    ids=["vmap", "grad", "functionalize"],
)
def test_traced_tensors_are_sent_to_the_operator(transform) -> None:
    with pytest.raises(TypeError, match=r"call masksolve\.adapters\.torch\.mask there"):
        transform(lambda x: ms.solve(x, PATTERN).mask)


def test_every_argument_is_refused_by_its_name() -> None:
    sparse = torch.eye(24, dtype=torch.bool)[:16].to_sparse()
    for name in ("keep", "drop"):
        for backend in ("auto", "batched"):
            with pytest.raises(TypeError, match=f"^{name} must be a dense tensor"):
                ms.solve(gaussian(), PATTERN, backend=backend, **{name: sparse})
    with pytest.raises(TypeError, match=r"^mask must be a dense tensor"):
        ms.verify(sparse, PATTERN)
    with pytest.raises(TypeError, match=r"^weights must be a dense tensor"):
        ms.pack(gaussian().to_sparse(), torch.ones(16, 24, dtype=torch.bool), PATTERN)


def test_tensors_on_a_gpu_stay_there() -> None:
    arrays = frameworks.torch_arrays("cuda")
    scores = np.abs(gaussian().numpy())
    found = ms.solve(arrays.make(scores), PATTERN, keep=np.eye(16, 24, dtype=bool), duals=True)
    assert found.backend == "batched"
    assert {found.mask.device.type, found.duals.rows.device.type} == {"cuda"}
    with pytest.raises(ValueError, match="keep must be on the device of scores"):
        ms.solve(torch.ones(16, 24), PATTERN, backend="batched", keep=arrays.make(np.eye(16, 24, dtype=bool)))
    assert_optimal(ms.solve(scores, PATTERN, warm_start=found), scores)
