"""Every function with every kind of pattern: it works, or refuses with a reason that names the pattern."""

import io
from dataclasses import replace

import numpy as np
import pytest

import masksolve as ms

PATTERNS = (
    *("2:4", "4:8-T", "2:4 x 4:8", "2:4 x 6:8 at_most", "2:4 x 6:8 at_most pad", "2:4 x 4:8 pair"),
    *("4:8 pair", "4:8 pair axis=0", "4:8 pair pad", "4:8-T pair", "4:8-T pair at_most", "4:8-T pair dense"),
    *("8:2:8", "8:2:8 at_most", "8:2:16", "8:2:8 pad", "8:2:8 dense"),
)
PAIRS = {text for text in PATTERNS if "pair" in text}
MIXED = {text for text in PATTERNS if " x " in text}
COLUMNS = {text for text in PATTERNS if text.startswith("8:2")}
WEIGHTS = np.random.default_rng(0).standard_normal((32, 32)).astype(np.float32)
FIRST = np.arange(WEIGHTS.size).reshape(WEIGHTS.shape) == 0


def solved(text, **options):
    return ms.solve(WEIGHTS, text, score="magnitude", **options)


def solves(text):
    result = solved(text, tiles=True)
    assert result.status is ms.Status.OPTIMAL
    assert ms.verify(result.mask, text).ok
    assert not ms.verify(np.ones_like(result.mask), text).ok
    proof = ms.recompute_certificate(WEIGHTS, result.mask, text, result.duals, score="magnitude")
    assert proof.objective == pytest.approx(result.objective)
    assert proof.bound >= proof.objective
    assert ms.Pattern(str(result.pattern)) == result.pattern
    assert repr(result.pattern).startswith(f"Pattern('{text}', keep ")
    assert len(result._repr_html_()) > 500
    file = io.BytesIO()
    result.save(file)
    file.seek(0)
    assert np.array_equal(ms.MaskResult.load(file).mask, result.mask)


def stops(text):
    result = solved(text, time_limit=1e-9)
    assert ms.verify(result.mask, text).ok
    assert result.bound >= solved(text).objective


def packs(text):
    mask = solved(text).mask
    packed = ms.pack(WEIGHTS, mask, text)
    for side in ("rows", "columns") if packed.columns is not None else ("rows",):
        assert np.array_equal(ms.unpack(packed, side=side), np.where(mask, WEIGHTS, 0))
    for encoding in ("positions", "bitmap", "rank"):
        stream = ms.hardware.metadata(packed.rows, encoding)
        assert np.array_equal(ms.hardware.positions(stream), packed.rows.indices)


def forces(text):
    assert solved(text, keep=FIRST).mask[0, 0]
    assert not solved(text, drop=FIRST).mask[0, 0] or "dense" in text


def warms(text):
    again = solved(text, warm_start=solved(text, duals=True))
    assert again.objective == pytest.approx(solved(text).objective)


def counts(text):
    assert ms.diversity.log2(text, WEIGHTS.shape) > 0


def costs(text):
    assert ms.hardware.cost(text).inputs > 1


def formulates(text):
    assert ms.formulation(WEIGHTS, text) is not None


def reorders(text):
    assert ms.permutation.search(np.abs(WEIGHTS), text) is not None


def allocates(text):
    found = ms.allocate([WEIGHTS, WEIGHTS], text, sparsity=0.5, score="magnitude")
    assert found.objective <= found.bound


def leaves_tiles_dense(text):
    found = ms.dense_tiles(WEIGHTS, text, share=0.25, tile=16, score="magnitude")
    assert ms.verify(found.masks, text, dense=found.dense, tile=16).ok
    with pytest.raises(ms.PatternViolationError, match=f"must follow '{text}"):
        ms.pack(WEIGHTS, found.masks, text)
    packed = ms.pack(WEIGHTS, found.masks, text, dense=found.dense, tile=found.tile)
    for side in ("rows", "columns") if packed.sparse.columns is not None else ("rows",):
        assert np.array_equal(ms.unpack(packed, side=side), np.where(found.masks, WEIGHTS, 0))


def runs_heuristics(text):
    assert ms.verify(solved(text, backend="greedy").mask, text).ok


REFUSED = {
    solves: set(),
    stops: set(),
    packs: set(),
    forces: set(),
    warms: COLUMNS,
    counts: set(),
    costs: MIXED,
    formulates: PAIRS | COLUMNS,
    reorders: PAIRS | COLUMNS | MIXED,
    allocates: COLUMNS,
    leaves_tiles_dense: {text for text in PATTERNS if "dense" in text},
    runs_heuristics: COLUMNS,
}


@pytest.mark.parametrize("text", PATTERNS)
@pytest.mark.parametrize("function", REFUSED, ids=lambda function: function.__name__)
def test_every_function_takes_or_refuses_every_pattern(function, text):
    if text not in REFUSED[function]:
        function(text)
        return
    with pytest.raises(ValueError, match=r"must|takes no|does not") as refusal:
        function(text)
    assert text in str(refusal.value) or "keep= and drop=" in str(refusal.value)


@pytest.mark.parametrize("text", [*sorted(MIXED), *sorted(PAIRS), "8:2:8", "8:2:8 at_most"])
def test_torch_prunes_and_trains_by_every_pattern(text):
    torch = pytest.importorskip("torch")
    from masksolve.adapters import torch as mt

    if "dense" in text or "axis" in text:
        pytest.skip("groups of weights run along the inputs or outputs")
    for run in (
        lambda net: mt.sparsify(net, text, dense_ends=False).finalize(),
        lambda net: mt.adaprune(net, torch.ones(8, 32), text, method="none", dense_ends=False),
        lambda net: mt.adaprune(net, torch.randn(64, 32), text, iterations=3, dense_ends=False),
    ):
        net = torch.nn.Sequential(torch.nn.Linear(32, 32))
        run(net)
        pattern = replace(ms.Pattern(text), constraint="at_most")
        assert ms.verify(net[0].weight.detach().numpy() != 0, pattern).ok


@pytest.mark.parametrize("text", PATTERNS)
def test_jax_masks_by_every_pattern(text):
    jax = pytest.importorskip("jax")
    from masksolve.adapters import jax as mj

    if "axis" in text:
        pytest.skip("groups of weights run along the inputs or outputs")
    kept = np.asarray(mj.mask(jax.numpy.asarray(WEIGHTS), text))
    assert ms.verify(kept, text).ok or ms.verify(kept.T, text).ok
