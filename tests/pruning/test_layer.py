"""Whole layers by recipe, in NumPy: what the torch adapter does with tensors."""

import itertools

import assertions
import numpy as np
import pytest

import masksolve as ms
from masksolve.pruning import reconstruction
from masksolve.pruning.projection import prefer
from masksolve.pruning.recipe import METHODS, SALIENCIES
from masksolve.pruning.reconstruction import Recipe, prune_layer

WAYS = [("admm", None), *itertools.product([each for each in METHODS if each != "admm"], SALIENCIES)]


def layer(seed, groups=2, outputs=8, features=16):
    rng = np.random.default_rng(seed)
    seen = []
    for _ in range(groups):
        seen.append(ms.saliency.Statistics.empty(features))
        seen[-1].update(rng.standard_normal((60, features)) @ rng.uniform(-1, 1, (features, features)) + 1)
    return rng.standard_normal((groups, outputs, features)), seen


@pytest.mark.parametrize(("method", "saliency"), WAYS)
@pytest.mark.parametrize("pattern", ["2:4", "2:4-T", "4:8-T at_most"])
def test_every_way_follows_the_pattern_and_tells_its_errors(method, saliency, pattern):
    w, seen = layer(0)
    pruned = prune_layer(w, seen, Recipe(pattern, method=method, saliency=saliency, steps=20))
    assert pruned.weights.dtype == w.dtype
    assert not pruned.weights[~pruned.mask].any()
    totals = np.zeros(3)
    for rows, found, mask, each in zip(w, pruned.weights, pruned.mask, seen, strict=True):
        assertions.assert_feasible(mask, ms.Pattern.parse(pattern))
        for index, other in enumerate((rows * mask, found, np.zeros_like(rows))):
            totals[index] += reconstruction.output_error(rows, other, each.gram).sum()
    assert pruned.error_before == pytest.approx(totals[0] / totals[2])
    assert pruned.error_after == pytest.approx(totals[1] / totals[2])
    assert pruned.error_after <= pruned.error_before


def test_admm_has_the_least_error():
    errors = {}
    for seed, (method, saliency) in itertools.product(range(4), WAYS):
        w, seen = layer(seed, groups=1, outputs=16, features=32)
        found = prune_layer(w, seen, Recipe("2:4-T", method=method, saliency=saliency, steps=50))
        errors[method, saliency] = errors.get((method, saliency), 0.0) + found.error_after
    assert min(errors, key=errors.get) == ("admm", None)


def test_the_shift_is_the_mean_error():
    w, seen = layer(1)
    pruned = prune_layer(w, seen, Recipe("2:4"), shifts=True)
    for rows, found, shift, each in zip(w, pruned.weights, pruned.shift, seen, strict=True):
        np.testing.assert_allclose(shift, (rows - found) @ each.mean, rtol=1e-12, atol=1e-12)
    centred = sum(
        reconstruction.output_error(*each).sum()
        for each in zip(w, pruned.weights, [each.covariance for each in seen], strict=True)
    )
    scale = sum(
        reconstruction.output_error(rows, 0 * rows, each.gram).sum()
        for rows, each in zip(w, seen, strict=True)
    )
    assert pruned.error_after == pytest.approx(centred / scale)


@pytest.mark.parametrize("method", ["admm", "least_squares"])
def test_old_entries_come_first(method):
    w, seen = layer(2, groups=1, features=24)
    w[0] *= ms.solve(np.abs(w[0]), "4:8").mask
    pruned = prune_layer(w, seen, Recipe("2:4-T", method=method, keep_old=True))
    most = ms.solve((w[0] != 0).astype(float), "2:4-T").objective
    assert (pruned.mask[0] & (w[0] != 0)).sum() == round(most)
    assertions.assert_feasible(pruned.mask[0], ms.Pattern.parse("2:4-T"))


def test_places_of_a_kernel_are_planes():
    w, seen = layer(3, groups=1, features=24)
    pruned = prune_layer(w, seen, Recipe("2:4-T"), inputs=8)
    for plane in np.split(pruned.mask[0], 3, axis=1):
        assertions.assert_feasible(np.ascontiguousarray(plane), ms.Pattern.parse("2:4-T"))


def test_without_statistics_weights_stay_as_they_are():
    w = np.random.default_rng(4).integers(-100, 100, (1, 8, 8)).astype(np.float16)
    pruned = prune_layer(w, None, Recipe("4:8-T", method="none"))
    assert pruned.weights.dtype == np.float16
    np.testing.assert_array_equal(pruned.weights, np.where(pruned.mask, w, 0))
    assert pruned.error_after is None


@pytest.mark.parametrize("scale", [1e-20, 1.0, 1e20])
def test_preferred_entries_outweigh_any_scores(scale):
    rng = np.random.default_rng(5)
    scores, old = rng.standard_normal((16, 16)) * scale, rng.random((16, 16)) < 0.5
    ranked = prefer(np, scores, old, ms.Pattern.parse("8:16-T"))
    assert ranked[old].min() - ranked[~old].max() > 0
    # Even a whole tile of the largest scores counts less than one old entry.
    assert 16 * 16 * np.ptp(ranked[old]) < ranked[old].min() - ranked[~old].max() + 1


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"method": "luck"}, ValueError, r"method must be one of .*'admm'.*got 'luck'"),
        ({"method": "admm", "saliency": "obs"}, ValueError, "finds the mask by itself"),
        ({"saliency": "guess"}, ValueError, "saliency must be one of .* got 'guess'"),
        ({"steps": 0}, ValueError, "steps must be at least 1, got 0"),
        ({"iterations": 1.5}, TypeError, "iterations must be an integer"),
        ({"damping": -1}, ValueError, "damping must be at least 0"),
        ({"damping": "0"}, TypeError, "damping must be a number"),
        ({"solver": "qr"}, ValueError, "solver must be one of"),
        ({"dtype": "float16"}, ValueError, "dtype must be one of"),
        ({"keep_old": 1}, TypeError, "keep_old must be True or False"),
    ],
)
def test_recipes_refuse(options, error, message):
    with pytest.raises(error, match=message):
        Recipe("2:4", **options)


def test_recipes_choose_and_name_themselves():
    assert str(Recipe("2:4-T")) == "admm to '2:4-T'"
    assert str(Recipe("2:4", saliency="wanda")) == "least_squares to '2:4' by wanda"
    assert str(Recipe("2:4", method="none")) == "none to '2:4' by magnitude"
