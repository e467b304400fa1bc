"""Which tiles stay dense: against every choice of tiles, with sums of the entries themselves."""

import itertools
import math

import numpy as np
import pytest
from oracles import solve, value

import masksolve as ms
from masksolve.testing.families import FAMILIES


def cut(shape: tuple[int, int], tile: tuple[int, int]) -> list[tuple[slice, slice]]:
    return [
        (slice(i, i + tile[0]), slice(j, j + tile[1]))
        for i in range(0, shape[0], tile[0])
        for j in range(0, shape[1], tile[1])
    ]


@pytest.mark.parametrize("text", ["2:4", "2:4-T", "2:4 at_most", "1:4 axis=-2", "2:4-T at_most"])
@pytest.mark.parametrize("family", ["gaussian", "signed", "small_integers", "zeros", "one_dominating"])
def test_no_choice_of_tiles_keeps_more(text: str, family: str) -> None:
    pattern = ms.Pattern(text)
    rng = np.random.default_rng(len(text) + len(family))
    layers = [FAMILIES[family](rng, (8, 8)), FAMILIES[family](rng, (4, 16))]
    places = [(n, place) for n, layer in enumerate(layers) for place in cut(layer.shape, (4, 8))]
    sparse = [value(layers[n][place], solve(layers[n][place], pattern)) for n, place in places]
    full = [layers[n][place].astype(float) for n, place in places]
    gained = [np.maximum(each, 0).sum() if pattern.constraint == "at_most" else each.sum() for each in full]
    for share in (0.0, 0.25, 0.6, 1.0):
        found = ms.dense_tiles(layers, pattern, share=share, tile=(4, 8))
        allowed = math.floor(share * len(places))
        best = max(
            math.fsum(gained[k] if k in which else sparse[k] for k in range(len(places)))
            for count in range(allowed + 1)
            for which in itertools.combinations(range(len(places)), count)
        )
        size = max(1.0, sum(float(np.abs(each).sum()) for each in full))
        assert found.objective == pytest.approx(best, abs=2e-7 * size)
        assert best - 1e-9 * size <= found.bound <= best + 2e-7 * size
        assert sum(int(grid.sum()) for grid in found.dense) <= allowed
        kept = sum(
            float(layer.astype(float)[mask].sum()) for layer, mask in zip(layers, found.masks, strict=True)
        )
        assert kept == pytest.approx(found.objective, abs=1e-9 * size)
        for mask, grid in zip(found.masks, found.dense, strict=True):
            assert ms.verify(mask, pattern, dense=grid, tile=(4, 8)).ok


def test_a_total_budget_is_spent_on_the_tiles_that_lose_most() -> None:
    rng = np.random.default_rng(0)
    scores = rng.random((64, 64)) * np.kron(rng.random((4, 4)), np.ones((16, 16)))
    found = ms.dense_tiles({"w": scores}, "2:4", sparsity=0.375, tile=16)
    mask, dense = found.masks["w"], found.dense["w"]
    assert mask.sum() == found.used == found.budget == 0.625 * 64 * 64
    assert dense.sum() == 4
    alone = ms.solve(scores, "2:4").mask
    lost = np.where(alone, 0, scores).reshape(4, 16, 4, 16).sum(axis=(1, 3))
    assert sorted(lost[dense]) == sorted(np.sort(lost.ravel())[-4:])
    assert found.gap < 1e-12
    assert found.share == 0.25
    assert found.uniform == pytest.approx(scores[alone].sum())


def test_tiles_that_the_edges_cut_short_and_batches() -> None:
    rng = np.random.default_rng(1)
    scores = rng.random((2, 10, 11))
    found = ms.dense_tiles(scores, "2:4 pad", share=0.5, tile=(4, 8))
    assert found.dense.shape == (2, 3, 2)
    assert found.dense.sum() == 6
    assert scores[found.masks].sum() == pytest.approx(found.objective)
    assert ms.verify(found.masks, "2:4 pad", dense=found.dense, tile=(4, 8)).ok
    by_entries = ms.dense_tiles(scores, "2:4 pad", sparsity=0.3, tile=(4, 8))
    assert by_entries.masks.sum() <= by_entries.used <= by_entries.budget == 154
    assert by_entries.objective <= by_entries.bound


def test_verify_counts_violations_outside_dense_tiles_only() -> None:
    mask = np.ones((8, 8), bool)
    dense = np.array([[True, False], [True, True]])
    found = ms.verify(mask, "2:4", dense=dense, tile=4)
    assert len(found) == 4
    assert {violation.tile for violation in found.violations} == {1, 3, 5, 7}
    assert (found.tiles, found.dense) == (4, 12)
    mask[:4, 4:] = [True, False, False, True]
    good = ms.verify(mask, "2:4", dense=dense, tile=(4, 4))
    assert str(good) == "ok: 4 groups follow '2:4', 12 may be dense"
    columns = ms.verify(np.ones((8, 8), bool), "2:4 axis=-2", dense=dense, tile=4)
    assert {violation.tile for violation in columns.violations} == {8, 10, 12, 14}


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda s: ms.dense_tiles(s, "2:4"), "share or sparsity must be given"),
        (lambda s: ms.dense_tiles(s, "2:4", share=0.5, sparsity=0.5), "share or sparsity must be given"),
        (lambda s: ms.dense_tiles(s, "2:4", share=2), "share must be between 0 and 1"),
        (lambda s: ms.dense_tiles(s, "2:4", sparsity=0.6), "keeps without dense tiles; it leaves 25"),
        (
            lambda s: ms.dense_tiles(s, "2:4", share=0.5, tile=6),
            "tile must be a multiple of 4 along axis -1",
        ),
        (lambda s: ms.dense_tiles(s, "2:4-T", share=0.5, tile=(6, 8)), "along axis -2, got"),
        (lambda s: ms.dense_tiles(s, "2:4 dense", share=0.5, tile=4), "must not have remainder='dense'"),
        (lambda s: ms.dense_tiles(s[0], "2:4", share=0.5), "at least two axes"),
        (lambda s: ms.dense_tiles(s[None].repeat(4, 0), "2:4 axis=0", share=0.5), "along the last two axes"),
        (lambda s: ms.verify(s > 0, "2:4", dense=[[True]]), "dense and tile must be given together"),
        (lambda s: ms.verify(s > 0, "2:4", dense=[[True]], tile=4), r"one entry for each tile of \(4, 4\)"),
    ],
)
def test_bad_arguments_are_named(call, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        call(np.random.default_rng(2).random((8, 8)))


def test_torch_tensors_give_torch_masks() -> None:
    torch = pytest.importorskip("torch")
    weights = torch.randn(32, 32, generator=torch.Generator().manual_seed(0), dtype=torch.bfloat16)
    found = ms.dense_tiles({"w": weights}, "4:8-T", share=0.25, tile=16, score="magnitude")
    mask = found.masks["w"]
    assert isinstance(mask, torch.Tensor)
    assert mask.dtype == torch.bool
    assert float(weights.double().abs()[mask].sum()) == pytest.approx(found.objective)
