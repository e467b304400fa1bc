"""What sparse training refuses, in what words, and that the model is left as it was."""

import pytest

torch = pytest.importorskip("torch")

from small_models import perceptron  # noqa: E402
from torch import nn  # noqa: E402

from masksolve.adapters import torch as mt  # noqa: E402


def adam(model):
    return torch.optim.Adam(model.parameters())


def diverged():
    model = perceptron()
    with torch.no_grad():
        model[2].weight[3, 1] = torch.nan
    return model


def parametrised():
    model = perceptron()
    for layer in model:
        if isinstance(layer, nn.Linear):
            nn.utils.parametrizations.weight_norm(layer)
    return model


def sparsified():
    model = perceptron()
    mt.sparsify(model, "2:4")
    return model


BAD = [
    (lambda: "model", {}, TypeError, "model must be a torch Module, got str"),
    (perceptron, {"pattern": "5:4"}, ValueError, "n must be between"),
    (perceptron, {"pattern": 4}, TypeError, "pattern must be"),
    (perceptron, {"refresh_every": 0}, ValueError, "refresh_every must be at least 1, got 0"),
    (perceptron, {"refresh_every": 1.5}, TypeError, "refresh_every must be an integer"),
    (
        perceptron,
        {"decay": -1.0, "refresh_every": 1},
        ValueError,
        "decay must be at least 0, got -1",
    ),
    (perceptron, {"decay": "a"}, TypeError, "decay must be a number"),
    (perceptron, {"decay": 0.1}, ValueError, "decay=0.1 works on dynamic masks only; give refresh_every="),
    (perceptron, {"density": mt.CubicRamp(0.5, 5)}, ValueError, "density=.* dynamic masks only"),
    (perceptron, {"density": 0.5, "refresh_every": 1}, TypeError, "density must be callable, got 0.5"),
    (
        perceptron,
        {"density": lambda step: 2.0, "refresh_every": 1},
        ValueError,
        "density must return",
    ),
    (perceptron, {"saliency": 1}, TypeError, "saliency must be callable"),
    (perceptron, {"saliency": lambda w, name: w.T}, ValueError, r"weight's shape \(32, 16\), got \(16, 32\)"),
    (perceptron, {"saliency": lambda w, name: 1.0}, TypeError, "saliency must return a tensor, got float"),
    (perceptron, {"saliency": lambda w, name: w / 0}, ValueError, "scores must be finite"),
    (perceptron, {"backend": "none"}, ValueError, "backend"),
    (perceptron, {"workers": 0}, ValueError, "workers"),
    (perceptron, {"layers": ["9"]}, ValueError, "matches no"),
    (lambda: nn.Sequential(nn.ReLU()), {}, ValueError, "no layer to prune"),
    (diverged, {}, ValueError, "scores must be finite"),
    (parametrised, {}, ValueError, "parametrised weight already"),
    (sparsified, {}, ValueError, "sparsified already: layer '2' has a mask; call finalize"),
    (sparsified, {"layers": ["2"]}, ValueError, "parametrised weight already"),
    (lambda: perceptron().to("meta"), {}, ValueError, "layer '0' is on the meta device"),
    (lambda: nn.Sequential(nn.LazyLinear(8)), {}, ValueError, "layer '0' has no weight yet"),
]


@pytest.mark.parametrize(("make", "options", "error", "message"), BAD)
def test_bad_input_is_refused_and_leaves_the_model_alone(make, options, error, message):
    model = make()
    before = list(model.state_dict()) if isinstance(model, nn.Module) else None
    with pytest.raises(error, match=message):
        mt.sparsify(model, **{"pattern": "2:4", **options})
    if before is not None:
        assert list(model.state_dict()) == before


def test_a_diverged_training_keeps_its_masks_and_names_the_layer():
    model = perceptron()
    sparsifier = mt.sparsify(model, "2:4-T", refresh_every=1)
    mask = sparsifier.masks["2"].clone()
    with torch.no_grad():
        sparsifier.dense_weights["2"][0, 0] = torch.nan
    with pytest.raises(ValueError, match="scores must be finite") as caught:
        sparsifier.step()
    assert caught.value.__notes__ == ["while finding the mask of layer '2'"]
    assert torch.equal(sparsifier.masks["2"], mask)
    assert len(sparsifier.totals) == 1


@pytest.mark.parametrize("method", ["step", "refresh", "finalize", "freeze", "state_dict"])
def test_nothing_can_follow_finalize(method):
    sparsifier = mt.sparsify(perceptron(), "2:4", refresh_every=1)
    sparsifier.finalize()
    with pytest.raises(RuntimeError, match=rf"{method}\(\) was called after finalize\(\)"):
        getattr(sparsifier, method)()


def test_states_of_other_runs_are_refused():
    sparsifier = mt.sparsify(perceptron(), "2:4")
    with pytest.raises(ValueError, match="state must be of pattern 2:4, got 4:8-T"):
        sparsifier.load_state_dict(mt.sparsify(perceptron(), "4:8-T").state_dict())
    other = mt.sparsify(perceptron(), "2:4", dense_ends=False)
    with pytest.raises(ValueError, match=r"state must be of layers \['2'\], got \['0', '2', '4'\]"):
        sparsifier.load_state_dict(other.state_dict())


@pytest.mark.parametrize("call", ["step", "refresh", "finalize"])
def test_masks_that_somebody_took_away_are_missed(call):
    model = perceptron()
    sparsifier = mt.sparsify(model, "2:4")
    name = next(iter(sparsifier.dense_weights))
    nn.utils.parametrize.remove_parametrizations(model[2], "weight")
    with pytest.raises(RuntimeError, match=f"layer '{name}' lost its mask; only finalize"):
        getattr(sparsifier, call)()


def test_pruning_needs_the_models_own_optimizer():
    model = perceptron()
    with pytest.raises(TypeError, match="optimizer must be a torch Optimizer, got str"):
        mt.prune_trained_model(model, "adam")
    with pytest.raises(ValueError, match="holds none of them"):
        mt.prune_trained_model(model, adam(perceptron()))
    with pytest.raises(TypeError, match=r"knows no \['decay', 'refresh_every'\]; use sparsify"):
        mt.prune_trained_model(model, adam(model), refresh_every=2, decay=1.0)
    assert list(model.state_dict()) == list(perceptron().state_dict())


@pytest.mark.parametrize(
    "arguments",
    [{"final": 0.0}, {"final": 0.9, "initial": 0.5}, {"steps": 0}, {"begin": -1}, {"initial": 1.5}],
)
def test_ramps_that_make_no_sense_are_refused(arguments):
    with pytest.raises(ValueError, match=next(iter(arguments))):
        mt.CubicRamp(**{"final": 0.5, "steps": 10, **arguments})
