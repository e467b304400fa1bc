"""``tiles=`` and ``warm_start=``: sums tile by tile, and prices to begin with."""

import frameworks
import numpy as np
import pytest
from assertions import assert_bounded, assert_proven
from solving import check, gaussian

import masksolve as ms
from masksolve.types import Prices

BACKENDS = ["exact", "batched", "enumerate", "greedy", "cover", "entropic", "highs"]


@pytest.fixture(params=["torch", "jax", "strict-device"])
def arrays(request: pytest.FixtureRequest) -> frameworks.Arrays:
    return frameworks.ALL[request.param]()


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize(
    ("pattern", "shape", "grid"),
    [
        ("2:4-T", (3, 8, 12), (3, 2, 3)),
        ("2:4-T pad", (9, 6), (3, 2)),
        ("2:4-T dense", (9, 6), (2, 1)),
        ("2:4 axis=0", (8, 5), (5, 1, 2)),
        ("2:4 at_most", (8,), (1, 2)),
        ("2:4-T", (0, 8), (0, 2)),
    ],
)
def test_every_tile_has_its_sums(
    backend: str, pattern: str, shape: tuple[int, ...], grid: tuple[int, ...]
) -> None:
    if backend == "entropic" and "T" not in pattern:
        pytest.skip("finds transposable masks only")
    scores = gaussian(*shape)
    options = {"bound": True} if backend in ("greedy", "cover") else {}
    result = ms.solve(scores, pattern, backend=backend, tiles=True, **options)
    assert result.tiles is not None
    assert result.tiles.objective.shape == result.tiles.bound.shape == grid
    assert_bounded(result, scores)
    tail = result.objective - result.tiles.objective.sum()
    assert result.bound == pytest.approx(result.tiles.bound.sum() + tail, rel=1e-12, abs=1e-12)


def test_sums_are_kept_by_default_where_they_are_cheap() -> None:
    assert ms.solve(gaussian(8, 8), "2:4-T").tiles is not None
    assert ms.solve(gaussian(8, 8), "2:4-T", tiles=False).tiles is None
    large = np.broadcast_to(gaussian(2048).astype(np.float32), (2048, 2048))
    assert ms.solve(large, "2:4").tiles is None
    assert ms.solve(large, "16:32-T").tiles is not None


def test_no_bound_no_sums() -> None:
    assert ms.solve(gaussian(8, 8), "2:4-T", backend="greedy", tiles=True).tiles is None


def test_tiles_that_were_not_reached_have_sums() -> None:
    scores = gaussian(16, 16)
    result = ms.solve(scores, "4:8-T", time_limit=1e-9, tiles=True)
    assert result.tiles is not None
    assert_bounded(result, scores)


def test_sums_stay_where_the_scores_are(arrays: frameworks.Arrays) -> None:
    scores = gaussian(16, 24)
    host = ms.solve(scores, "4:8-T", tiles=True)
    with frameworks.doubles(arrays.name):
        found = ms.solve(arrays.make(scores), "4:8-T", tiles=True)
        assert found.tiles is not None
        assert host.tiles is not None
        if arrays.on_host:
            assert isinstance(found.tiles.bound, np.ndarray)
        read = np.asarray if arrays.on_host else arrays.read
        np.testing.assert_allclose(read(found.tiles.objective), host.tiles.objective, rtol=1e-12)
        np.testing.assert_allclose(read(found.tiles.bound), host.tiles.bound, rtol=1e-12)


# starting prices


@pytest.mark.parametrize("backend", ["exact", "batched"])
@pytest.mark.parametrize("pattern", ["4:8-T", "4:8-T at_most", "2:4-T pad", "2:4-T dense", "2:4"])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_prices_are_a_start_as_good_as_a_result(backend: str, pattern: str, dtype: type) -> None:
    shape = (17, 25) if "pad" in pattern or "dense" in pattern else (16, 24)
    scores = gaussian(*shape).astype(dtype)
    earlier = ms.solve(scores, pattern, backend=backend, duals=True)
    duals = earlier.duals
    assert duals is not None
    later = (scores + 0.01 * gaussian(*shape, seed=1)).astype(dtype)
    expected = ms.solve(later, pattern, backend=backend, warm_start=earlier)
    other = np.float64 if dtype is np.float32 else np.float32
    starts = [
        duals,
        tuple(duals),
        list(duals),
        Prices(*(None if part is None else part.astype(other) for part in duals)),
        Prices(*(None if part is None else np.repeat(part, 2, axis=1)[:, ::2] for part in duals)),
        Prices(*(None if part is None else part.tolist() for part in duals)),
    ]
    for start in starts:
        result = ms.solve(later, pattern, backend=backend, warm_start=start)
        assert result.objective == pytest.approx(expected.objective, rel=1e-6)
        check(result, later)


@pytest.mark.parametrize("dtype", [np.int8, np.int64, np.float16, np.bool_])
def test_prices_of_any_real_type(dtype: type) -> None:
    scores = gaussian(16, 24)
    prices = Prices(*(np.random.default_rng(0).integers(0, 2, (6, 8)).astype(dtype) for _ in range(2)))
    check(ms.solve(scores, "4:8-T", warm_start=prices), scores)


@pytest.mark.parametrize("value", [1e300, -1e300, 5e-324, 1e20])
@pytest.mark.parametrize("backend", ["exact", "batched"])
def test_absurd_prices_never_change_the_optimum(value: float, backend: str) -> None:
    rng = np.random.default_rng(1)
    for pattern in ("4:8-T", "2:4-T at_most", "3:7-T pad"):
        scores = gaussian(21, 24)[: 24 if "pad" in pattern else 16].astype(np.float32)
        tiles = ms.solve(scores, pattern).stats["tiles"]
        m = ms.Pattern.parse(pattern).m
        prices = Prices(
            *(np.where(rng.random((tiles, m)) < 0.5, value, rng.normal(size=(tiles, m))) for _ in "uv")
        )
        assert_proven(ms.solve(scores, pattern, backend=backend, warm_start=prices), scores)


def test_prices_of_other_libraries(arrays: frameworks.Arrays) -> None:
    scores = gaussian(16, 24).astype(np.float32)
    first = ms.solve(arrays.make(scores), "4:8-T", duals=True)
    near = scores + np.float32(0.01)
    for start in (first, first.duals, ms.solve(scores, "4:8-T", duals=True).duals):
        found = ms.solve(arrays.make(near), "4:8-T", warm_start=start)
        assert arrays.is_ours(found.mask)
        assert found.status is ms.Status.OPTIMAL
        host = ms.solve(near, "4:8-T", warm_start=start)
        assert host.objective == pytest.approx(found.objective, rel=1e-6)


@pytest.mark.parametrize("shape", [(5, 8), (6, 7)])
def test_wrong_prices_on_a_device_are_refused(shape: tuple[int, int]) -> None:
    """Also where they are looked at on the device."""
    device = frameworks.ALL["strict-device"]()
    start = Prices(device.make(np.zeros(shape)), device.make(np.zeros((6, 8))))
    with pytest.raises(ValueError, match=r"warm_start must be \(rows, columns\) of shapes"):
        ms.solve(device.make(gaussian(16, 24)), "4:8-T", warm_start=start)


def test_duals_that_were_not_kept_cannot_start_anything() -> None:
    with pytest.raises(ValueError, match="warm_start must hold its dual prices"):
        ms.solve(gaussian(8, 8), "4:8-T", warm_start=ms.solve(gaussian(8, 8), "4:8-T", duals=False))
