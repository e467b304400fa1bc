"""Backend `triton` in place, on tensors: against `batched` and the compiled engine, by objectives alone."""

from __future__ import annotations

import importlib
import inspect
import itertools
from pathlib import Path

import numpy as np
import pytest

import masksolve as ms
from masksolve.testing import FAMILIES, check_backend

torch = pytest.importorskip("torch")

from triton.runtime.jit import KernelParam  # noqa: E402

from masksolve.backends.triton.launching import INTERPRETED  # noqa: E402

PATTERNS = ("1:2-T", "2:4-T", "2:4-T at_most", "1:4-T", "3:5-T", "4:8-T", "4:8-T at_most", "6:8-T at_most",
            "8:8-T", "2:4", "3:7 at_most", "5:8 axis=0")  # fmt: skip
LAYOUTS = {
    "contiguous": lambda x: x.contiguous(),
    "transposed": lambda x: x.mT.contiguous().mT,
    "strided": lambda x: x.repeat_interleave(2, -1)[..., ::2],
    "offset": lambda x: torch.nn.functional.pad(x, (3, 1, 5, 0))[..., 5:, 3:-1],
}


def gaussian(*shape: int) -> torch.Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(0))


def assert_as_good(scores: torch.Tensor, pattern: str, device: str, **options: object) -> ms.MaskResult:
    """Solve in place; the objective is the compiled engine's, and everything reported is true."""
    found = ms.solve(scores.to(device), pattern, backend="triton", duals=True, tiles=True, **options)
    host = worth(scores, str(options.get("score", "value")))
    best = ms.solve(
        host, pattern, backend="batched", **{k: v for k, v in options.items() if k in ("keep", "drop")}
    )
    mask = found.mask.cpu().numpy()
    assert found.status is ms.Status.OPTIMAL
    assert ms.verify(mask, pattern).ok
    size = np.abs(host[mask]).sum() + np.abs(host[best.mask.astype(bool)]).sum()
    exact = scores.dtype == torch.float64 or not scores.is_floating_point()
    assert abs(found.objective - best.objective) <= (1e-11 if exact else 1e-6) * size + 1e-40
    assert found.objective == pytest.approx(host[mask].sum(), rel=1e-9, abs=1e-12 * size)
    assert found.objective <= found.bound <= found.objective + 1e-6 * size + 1e-40
    prices = ms.Prices(*(None if part is None else part.cpu() for part in found.duals))
    shown = ms.recompute_certificate(host, mask, pattern, prices)
    assert shown.objective == pytest.approx(found.objective, rel=1e-12, abs=1e-12 * size)
    assert shown.bound <= found.bound * (1 + 1e-9) + 1e-6 * size + 1e-40
    if pattern.endswith("dense"):
        return found
    assert float(found.tiles.objective.sum()) == pytest.approx(found.objective, rel=1e-9, abs=1e-12 * size)
    assert float(found.tiles.bound.sum()) == pytest.approx(found.bound, rel=1e-9, abs=1e-12 * size)
    return found


def worth(scores: torch.Tensor, score: str) -> np.ndarray:
    host = scores.detach().to(torch.float64).numpy()
    return np.square(host) if score == "square" else np.abs(host) if score == "magnitude" else host


@pytest.mark.parametrize("pattern", PATTERNS)
def test_patterns(pattern: str, device: str) -> None:
    m = ms.Pattern.parse(pattern).m
    found = assert_as_good(gaussian(3 * m, 5 * m), pattern, device)
    assert found.stats["open"] == 0
    assert not any("batched" in name for name in found.stats)


@pytest.mark.parametrize("pattern", ["8:16-T", "8:16-T at_most", "5:13-T", "16:32-T", "20:40"])
def test_larger_tiles(pattern: str, device: str) -> None:
    m = ms.Pattern.parse(pattern).m
    assert_as_good(gaussian(m, 3 * m), pattern, device, score="magnitude")


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("pattern", ["2:4-T", "4:8-T", "3:8-T at_most", "2:4 at_most"])
def test_families(family: str, pattern: str, device: str) -> None:
    scores = FAMILIES[family](np.random.default_rng(3), (16, 24))
    assert_as_good(torch.from_numpy(scores), pattern, device)


@pytest.mark.parametrize(
    "dtype", [torch.float16, torch.bfloat16, torch.float64, torch.int8, torch.uint8, torch.bool]
)
@pytest.mark.parametrize("score", ["value", "magnitude", "square"])
def test_dtypes(dtype: torch.dtype, score: str, device: str) -> None:
    scores = (
        (4 * gaussian(16, 16)).abs().to(dtype)
        if dtype in (torch.uint8, torch.bool)
        else gaussian(16, 16).to(dtype)
    )
    for pattern in ("2:4-T", "4:8-T"):
        assert_as_good(scores, pattern, device, score=score)


def test_squares_of_float32_are_those_of_float64(device: str) -> None:
    scores = 1 + 1e-7 * gaussian(16, 16)
    found = assert_as_good(scores, "2:4-T", device, score="square")
    assert found.objective == pytest.approx(
        worth(scores, "square")[found.mask.cpu().numpy()].sum(), rel=1e-15
    )


@pytest.mark.parametrize(
    ("layout", "pattern"), [*itertools.product(LAYOUTS, ["2:4-T", "3:4 axis=-2", "4:8-T at_most"])]
)
def test_layouts(layout: str, pattern: str, device: str) -> None:
    scores = LAYOUTS[layout](gaussian(2, 16, 24).to(device))
    found = assert_as_good(scores.cpu(), pattern, device)
    there = ms.solve(scores, pattern, backend="triton")
    assert torch.equal(there.mask, found.mask)
    assert there.mask.shape == scores.shape


@pytest.mark.parametrize("pattern", ["2:4 axis=1", "2:4-T"])
def test_permuted_batches_are_launched_piece_by_piece(pattern: str, device: str) -> None:
    scores = gaussian(4, 3, 8, 2, 12).permute(1, 3, 0, 2, 4)[:, :, :, :, :]
    shape = scores if pattern.endswith("-T") else scores.permute(0, 3, 2, 1, 4)
    assert_as_good(shape, pattern, device)


@pytest.mark.parametrize("pattern", ["2:4-T dense", "2:4-T pad", "4:8-T pad", "2:4 pad", "2:4 dense"])
def test_edges(pattern: str, device: str) -> None:
    found = assert_as_good(gaussian(19, 22), pattern, device)
    by_batched = sum(count for name, count in found.stats.items() if "by batched" in name)
    assert by_batched == {"2:4-T pad": 10, "4:8-T pad": 5}.get(pattern, 0)


def test_forced_choices_are_left_to_batched(device: str) -> None:
    scores, keep = gaussian(8, 8), torch.eye(8, dtype=torch.bool)
    found = ms.solve(scores.to(device), "4:8-T", backend="triton", keep=keep.to(device))
    assert found.mask.cpu()[keep].all()
    assert found.stats["by batched: forced choices"] == 1


@pytest.mark.parametrize("pattern", ["4:8-T", "4:8-T at_most"])
@pytest.mark.parametrize("rounds", [0, 1, 5])
def test_rounds_and_warm_starts(pattern: str, rounds: int, device: str) -> None:
    scores = gaussian(24, 24).to(device)
    first = ms.solve(scores, pattern, backend="triton", rounds=rounds)
    nudged = scores + 0.01 * gaussian(24, 24).to(device).flip(0)
    cold, warm = (
        ms.solve(nudged, pattern, backend="triton", warm_start=start, rounds=rounds)
        for start in (None, first)
    )
    assert warm.objective == pytest.approx(cold.objective, rel=1e-12)
    assert warm.status is cold.status is ms.Status.OPTIMAL


def test_mixed_magnitudes_are_finished(device: str) -> None:
    """Sums that float32 does not hold: again in float64, and the rest by the pipeline."""
    scores = gaussian(32, 32) * 10.0 ** (
        12 * torch.rand((32, 32), generator=torch.Generator().manual_seed(1)) - 6
    )
    again = 0
    for pattern in ("2:4-T", "4:8-T", "4:8-T at_most"):
        found = ms.solve(scores.to(device), pattern, backend="triton", tiles=True)
        best = ms.solve(scores.double().numpy(), pattern, backend="batched", tiles=True)
        assert found.status is ms.Status.OPTIMAL
        again += found.stats.get("solved_in_float64", 0)
        scale = np.abs(best.tiles.objective)
        assert (np.abs(found.tiles.objective.cpu().numpy() - best.tiles.objective) <= 1e-12 * scale).all()
    assert again > 0


@pytest.mark.parametrize("value", [float("nan"), float("inf"), -float("inf")])
@pytest.mark.parametrize("pattern", ["2:4-T", "4:8-T", "2:4"])
def test_unfit_scores_are_refused(value: float, pattern: str, device: str) -> None:
    scores = gaussian(8, 8)
    scores[5, 2] = value
    with pytest.raises(ValueError, match=r"scores must be finite, got -?(nan|inf) at index \[5, 2\]"):
        ms.solve(scores.to(device), pattern, backend="triton")


def test_large_scores_are_solved_in_double(device: str) -> None:
    scores = 1e35 * gaussian(8, 8)
    found = assert_as_good(scores, "4:8-T", device)
    assert found.duals.rows.dtype == torch.float64


def test_nothing_is_copied_or_written(device: str) -> None:
    """The mask has the memory order of the scores, which stay as they were."""
    scores = gaussian(16, 24).to(device).T
    before = scores.clone()
    found = ms.solve(scores, "4:8-T", backend="triton")
    assert found.mask.stride() == scores.stride()
    assert torch.equal(scores, before)


def test_numpy_arrays_are_sent_to_the_device() -> None:
    scores = gaussian(16, 24).numpy()
    found, best = (ms.solve(scores, "4:8-T", backend=name) for name in ("triton", "batched"))
    assert isinstance(found.mask, np.ndarray)
    assert found.objective == best.objective


def test_no_gpu_is_a_reason(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("TRITON_INTERPRET", raising=False)
    monkeypatch.setattr("os.path.exists", lambda path: False)
    with pytest.raises(ms.BackendUnavailableError, match="needs a GPU of NVIDIA or AMD"):
        ms.solve(np.ones((4, 4)), "2:4-T", backend="triton")


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
def test_auto_chooses_it_on_a_gpu() -> None:
    found = ms.solve(gaussian(64, 64).cuda(), "8:16-T")
    assert found.backend == "triton"
    assert found.mask.is_cuda


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU; the interpreter takes a minute")
def test_it_conforms() -> None:
    assert check_backend("triton").solves > 200


@pytest.mark.parametrize("pattern", ["2:4-T", "4:8-T at_most", "2:4"])
def test_what_no_kernel_proves_is_finished_on_the_host(
    pattern: str, device: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Kernels that may believe nothing leave every tile to the pipeline, which finds the same optimum."""
    working = importlib.import_module("masksolve.backends.triton.working")
    monkeypatch.setattr(working, "tolerance_of", lambda dtype: -1.0)
    assert_as_good(gaussian(16, 16), pattern, device)


@pytest.mark.parametrize(
    ("shape", "strides", "pattern"),
    [
        ((8, 4), (2**29, 1), "2:4 axis=0"),
        ((8, 8), (2**29, 1), "4:8-T"),
        ((4, 8), (2**30, 1), "2:4-T"),
        ((8, 4), (1, 2**30), "2:4-T"),
        ((2, 4, 8), (2**31, 8, 1), "2:4-T"),
    ],
)
def test_offsets_beyond_32_bits(shape, strides, pattern, tmp_path: Path) -> None:
    """In a file with holes, of which only the tiles are on the disk."""
    if not INTERPRETED:
        pytest.skip("a device has no memory with holes")
    size = 1 + sum((length - 1) * stride for length, stride in zip(shape, strides, strict=True))
    whole = torch.from_numpy(np.memmap(tmp_path / "scores", np.int8, "w+", shape=(size,)))
    scores = whole.as_strided(shape, strides)
    scores.copy_((9 * gaussian(*shape)).to(torch.int8))
    assert_as_good(scores, pattern, "cpu")


def test_stride_zero(device: str) -> None:
    """One row, one column, or one matrix repeated, of which the kernels read the same memory again."""
    for scores in (
        gaussian(1, 16).expand(16, 16),
        gaussian(16, 1).expand(16, 16),
        gaussian(8, 8).expand(3, 8, 8),
    ):
        for pattern in ("2:4-T", "4:8-T", "2:4"):
            assert_as_good(scores, pattern, device)


def test_numbers_arrive_in_float64() -> None:
    """Of a Python float Triton makes a float32, unless the kernel says otherwise: 1e300 would be infinite."""
    module = importlib.import_module("masksolve.backends.triton.launching")
    for kernel in (module.solve, module.pair, module.rank):
        code = kernel.fn if hasattr(kernel, "fn") else kernel
        for name in ("largest", "tolerance"):
            assert (
                KernelParam(0, inspect.signature(code).parameters[name], False, False).annotation_type
                == "fp64"
            )


@pytest.mark.parametrize("value", [float("inf"), float("nan")])
def test_unfit_float64_scores_are_refused(value: float, device: str) -> None:
    scores = gaussian(8, 8).double()
    scores[5, 2] = value
    with pytest.raises(ValueError, match=r"scores must be finite, got (nan|inf) at index \[5, 2\]"):
        ms.solve(scores.to(device), "4:8-T", backend="triton")


@pytest.mark.parametrize("pattern", ["2:4-T", "4:8-T at_most", "2:4"])
def test_time_limits_fill_what_was_not_reached(pattern: str, device: str) -> None:
    scores = gaussian(16, 16)
    found = ms.solve(scores.to(device), pattern, backend="triton", time_limit=1e-9, duals=True, tiles=True)
    assert found.status is ms.Status.TIME_LIMIT
    assert ms.verify(found.mask.cpu(), pattern).ok
    assert found.objective == pytest.approx(float(scores.double()[found.mask.cpu()].sum()))
    assert float(found.tiles.objective.sum()) == pytest.approx(found.objective)
    assert found.bound >= ms.solve(scores, pattern).objective
