"""Statistics of layers' inputs against patches cut by hand; batches of every kind, good and bad."""

import weakref

import numpy as np
import pytest

torch = pytest.importorskip("torch")
from small_models import perceptron  # noqa: E402
from torch import nn  # noqa: E402

from masksolve.adapters.torch.layers import known_weights  # noqa: E402
from masksolve.adapters.torch.pruning import features  # noqa: E402
from masksolve.adapters.torch.pruning.calibration import Calibration  # noqa: E402
from masksolve.adapters.torch.pruning.observe import layer_statistics, survey  # noqa: E402
from masksolve.adapters.torch.pruning.rows import rows_of, weight_from  # noqa: E402
from masksolve.adapters.torch.pruning.state import evaluating  # noqa: E402

NUMPY_MODES = {"zeros": "constant", "reflect": "reflect", "replicate": "edge", "circular": "wrap"}


def only(layer):
    """The weight of a layer that is a model by itself."""
    (weight,) = known_weights(layer)
    return weight


def named(model, *names):
    """Weights of a model by name."""
    found = {weight.name: weight for weight in known_weights(model)}
    return [found[name] for name in names]


def patches(layer, x):
    """What a convolution multiplies its weight by, (groups, samples, places * channels), in loops."""
    x, spatial = x.double().numpy(), len(layer.kernel_size)
    if layer.padding == "same":
        total = [d * (k - 1) for d, k in zip(layer.dilation, layer.kernel_size, strict=True)]
        pads = [(t // 2, t - t // 2) for t in total]
    else:
        pads = [(p, p) for p in ((0,) * spatial if layer.padding == "valid" else layer.padding)]
    x = np.pad(x, [(0, 0), (0, 0), *pads], mode=NUMPY_MODES[layer.padding_mode])
    span = [d * (k - 1) + 1 for d, k in zip(layer.dilation, layer.kernel_size, strict=True)]
    corners = [range(0, x.shape[2 + i] - span[i] + 1, layer.stride[i]) for i in range(spatial)]
    found = []
    for group in np.split(x, layer.groups, axis=1):
        samples = []
        for image in group:
            for corner in np.ndindex(*map(len, corners)):
                first = [corners[i][corner[i]] for i in range(spatial)]
                cut = tuple(slice(first[i], first[i] + span[i], layer.dilation[i]) for i in range(spatial))
                samples.append(np.moveaxis(image[(slice(None), *cut)], 0, -1).ravel())
        found.append(samples)
    return np.array(found)


CONVOLUTIONS = [
    (nn.Conv2d(4, 6, 3), (2, 4, 5, 6)),
    (nn.Conv2d(4, 6, 1), (2, 4, 3, 3)),
    (nn.Conv2d(4, 6, (3, 2), stride=(2, 1), padding=(1, 2)), (2, 4, 7, 5)),
    (nn.Conv2d(4, 6, 3, dilation=2, padding="same"), (1, 4, 6, 6)),
    (nn.Conv2d(4, 6, (2, 4), padding="same", padding_mode="replicate"), (1, 4, 6, 6)),
    (nn.Conv2d(4, 6, 3, padding=1, padding_mode="reflect", groups=2), (2, 4, 5, 5)),
    (nn.Conv2d(4, 8, 3, padding=2, padding_mode="circular", groups=4), (2, 4, 5, 5)),
    (nn.Conv1d(4, 6, 3, padding=1, stride=2), (3, 4, 9)),
    (nn.Conv1d(4, 6, 2, dilation=3, groups=2, padding=2, padding_mode="replicate"), (3, 4, 9)),
    (nn.Conv1d(4, 6, 5, padding="same"), (3, 4, 9)),
]


@pytest.mark.parametrize(("layer", "shape"), CONVOLUTIONS, ids=lambda each: str(each)[:60])
@pytest.mark.parametrize("chunk", [1, 1 << 21])
def test_statistics_of_convolutions(layer, shape, chunk, monkeypatch):
    monkeypatch.setattr(features, "_CHUNK_ENTRIES", chunk)
    x = torch.randn(shape, generator=torch.Generator().manual_seed(0))
    expected = patches(layer, x)
    with torch.no_grad():  # the patches themselves are right: they give the convolution's own outputs
        outputs = layer(x) - layer.bias.view(-1, *[1] * (len(shape) - 2))
    sums = np.einsum("gof,gsf->go", rows_of(only(layer)), expected).ravel()
    np.testing.assert_allclose(
        outputs.sum(dim=(0, *range(2, len(shape)))).numpy(), sums, rtol=1e-3, atol=1e-4
    )
    found = layer_statistics(layer, Calibration(x, batch_size=2), only(layer), [1] * -(-shape[0] // 2))
    assert len(found) == layer.groups
    for seen, samples in zip(found, expected, strict=True):
        assert seen.count == len(samples)
        np.testing.assert_allclose(seen.gram, samples.T @ samples, rtol=1e-12, atol=1e-12)
        np.testing.assert_allclose(seen.total, samples.sum(axis=0), rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("shape", [(7, 4), (3, 5, 4), (2, 3, 2, 4)])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16])
def test_statistics_of_linear_layers(shape, dtype):
    layer = nn.Linear(4, 3).to(dtype)
    x = torch.randn(shape).to(dtype)
    (seen,) = layer_statistics(layer, Calibration(x, batch_size=100), only(layer), [1])
    flat = x.double().reshape(-1, 4).numpy()
    assert seen.count == len(flat)
    np.testing.assert_allclose(seen.gram, flat.T @ flat, rtol=1e-12)


def test_an_image_without_a_batch():
    layer = nn.Conv2d(2, 3, 3)
    x = torch.randn(2, 5, 5)
    (seen,) = layer_statistics(layer, Calibration([x]), only(layer), [1])
    samples = patches(layer, x.unsqueeze(0))[0]
    np.testing.assert_allclose(seen.gram, samples.T @ samples, rtol=1e-12)


@pytest.mark.parametrize("layer", [nn.Linear(4, 6), *(layer for layer, _ in CONVOLUTIONS)], ids=str)
def test_rows_and_back(layer):
    rows = rows_of(only(layer))
    assert rows.shape[0] == getattr(layer, "groups", 1)
    assert torch.equal(weight_from(rows, only(layer)).float(), layer.weight)


class Twisted(nn.Module):
    """Layers that run in another order than they are listed, one of them twice, one never."""

    def __init__(self):
        super().__init__()
        self.last, self.unused, self.twice, self.first = (nn.Linear(4, 4) for _ in range(4))
        self.query, self.key = nn.Linear(4, 4), nn.Linear(4, 4)

    def forward(self, x):
        x = self.twice(self.twice(self.first(x)).relu())
        return self.last(self.query(x) * self.key(x))


def test_survey_sees_order_calls_and_repeats():
    model = Twisted()
    names = [name for name, _ in model.named_children() if name != "unused"]
    found = survey(model, Calibration(torch.randn(5, 4), batch_size=2), named(model, *names))
    assert found.order == ["first", "twice", "query", "key", "last"]
    assert found.calls["twice"] == [2, 2, 2]
    assert [name for name in found.order if found.repeats(name)] == ["key"]


@pytest.mark.parametrize("entering", [False, True], ids=["made in inference mode", "run in inference mode"])
def test_repeats_in_inference_mode(entering):
    """What is made there cannot change outside of it; inside nothing tells whether it does."""
    model = nn.ModuleDict({"one": nn.Linear(4, 4), "two": nn.Linear(4, 4)})
    with torch.inference_mode():
        data = Calibration([torch.randn(5, 4)], forward=lambda model, x: model["one"](x) + model["two"](x))
    with torch.inference_mode(entering), torch.no_grad():
        assert survey(model, data, named(model, "one", "two")).repeats("two") != entering


def test_a_layer_that_is_called_twice_counts_both():
    model = Twisted()
    x = torch.randn(5, 4)
    with torch.no_grad():
        first = model.first(x)
        given = torch.cat([first, model.twice(first).relu()]).double().numpy()
    (seen,) = layer_statistics(model, Calibration(x), *named(model, "twice"), [2])
    assert seen.count == 10
    np.testing.assert_allclose(seen.gram, given.T @ given, rtol=1e-6)


def test_a_layer_that_is_called_by_keyword():
    class Named(nn.Module):
        def __init__(self):
            super().__init__()
            self.one, self.two = nn.Linear(4, 4), nn.Linear(4, 4)

        def forward(self, x):
            return self.one(input=x) + self.two(input=x)

    model, x = Named(), torch.randn(5, 4)
    found = survey(model, Calibration(x), named(model, "one", "two"))
    assert not found.repeats("two"), "not looked for among keywords"
    (seen,) = layer_statistics(model, Calibration(x), *named(model, "two"), found.calls["two"])
    np.testing.assert_allclose(seen.gram, (x.double().T @ x.double()).numpy(), rtol=1e-12)


class Changed(nn.Module):
    """The second layer gets the first one's tensor, but not what was in it."""

    def __init__(self):
        super().__init__()
        self.one, self.two = nn.Linear(4, 4), nn.Linear(4, 4)

    def forward(self, x):
        x = x * 1.0
        return self.one(x) + self.two(x.add_(1.0))


def test_a_tensor_changed_in_place_is_not_the_same_input():
    with torch.no_grad():
        model = Changed()
        assert not survey(model, Calibration(torch.randn(5, 4)), named(model, "one", "two")).repeats("two")


def test_a_convolution_and_a_linear_layer_see_different_things_in_one_tensor():
    model = nn.ModuleDict({"one": nn.Conv1d(4, 4, 1), "two": nn.Linear(4, 4)})
    data = Calibration([torch.randn(5, 4, 4)], forward=lambda model, x: model["one"](x) + model["two"](x))
    assert not survey(model, data, named(model, "one", "two")).repeats("two")


def test_followers_are_found_where_the_output_goes_straight_into_them():
    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            self.norm, self.other = nn.BatchNorm2d(4), nn.BatchNorm2d(4)
            self.conv, self.apart = nn.Conv2d(4, 4, 1), nn.Conv2d(4, 4, 1)

        def forward(self, x):
            return self.other(self.apart(self.norm(self.conv(x))).relu())

    model = Net().eval()
    found = survey(model, Calibration(torch.randn(2, 4, 3, 3)), named(model, "conv", "apart"))
    assert found.followers == {"conv": "norm"}


def test_activations_of_one_layer_at_a_time():
    """However many batches there are, only those of the one that is running are alive."""
    model = nn.Sequential(*(nn.Linear(8, 8) for _ in range(6)))
    seen, most = [], [0]

    def watch(_module, _args, output):
        seen.append(weakref.ref(output))
        most[0] = max(most[0], sum(ref() is not None for ref in seen))

    for layer in model:
        layer.register_forward_hook(watch)
    batches = [torch.randn(4, 8) for _ in range(20)]
    with evaluating(model):
        layer_statistics(model, Calibration(batches), *named(model, "5"), [1] * 20)
    assert len(seen) == 5 * 20, "the model runs no further than to the layer"
    assert most[0] <= 3


@pytest.mark.parametrize(
    ("data", "options", "error", "message"),
    [
        (torch.empty(0, 8), {}, ValueError, r"samples along its first axis, got shape \(0, 8\)"),
        (torch.tensor(1.0), {}, ValueError, r"got shape \(\)"),
        ([], {}, ValueError, "calibration gave no batches"),
        (iter(()), {}, ValueError, "calibration gave no batches"),
        ([torch.empty(0, 8)], {}, ValueError, "batch 0 holds no samples"),
        ([torch.ones(2, 8), torch.full((2, 8), torch.nan)], {}, ValueError, "batch 1 must be finite"),
        (torch.full((3, 8), torch.inf), {}, ValueError, "batch 0 must be finite"),
        (torch.ones(3, 9), {}, ValueError, r"batch 0 .*\(3, 9\).* does not go through the model"),
        (torch.ones(3, 8, dtype=torch.int64), {}, ValueError, r"torch.int64 \(3, 8\).* does not go"),
        ({"x": torch.ones(3, 8)}, {}, ValueError, "does not go through the model.*unexpected keyword"),
        ({"x": torch.ones(3, 8), "y": torch.ones(2)}, {}, ValueError, "calibration as a mapping must hold"),
        ({}, {}, ValueError, "calibration as a mapping must hold"),
        ([(torch.ones(3, 8), torch.ones(3))], {}, ValueError, "forward=lambda model, batch"),
        ([np.ones((3, 8))], {}, TypeError, "batch 0 must be a tensor.*got ndarray; torch.as_tensor"),
        ([[]], {}, TypeError, "batch 0 must be a tensor.*got list"),
        (None, {}, TypeError, "calibration must be a tensor of samples.*got NoneType"),
        ("images", {}, TypeError, "got str"),
        (3, {}, TypeError, "got int"),
        (torch.ones(3, 8), {"batch_size": 0}, ValueError, "batch_size must be at least 1, got 0"),
        (torch.ones(3, 8), {"batch_size": 2.0}, TypeError, "batch_size must be an integer, got 2.0"),
        (torch.ones(3, 8), {"forward": "call"}, TypeError, "forward must be callable"),
    ],
)
def test_bad_data(data, options, error, message):
    model = perceptron()
    with pytest.raises(error, match=message):
        survey(model, Calibration(data, **options), named(model, "0", "2"))
    assert all(not module._forward_hooks and not module._forward_pre_hooks for module in model.modules())


def test_a_layer_that_is_never_called():
    model = Twisted()
    with pytest.raises(ValueError, match=r"never calls the layers \['unused'\].*skip="):
        survey(model, Calibration(torch.ones(2, 4)), named(model, "first", "unused"))


def test_infinities_that_arise_in_the_model():
    model = nn.Sequential(nn.Linear(4, 4), nn.Linear(4, 4))
    with torch.no_grad():
        model[0].bias.fill_(torch.inf)
    with pytest.raises(ValueError, match=r"batch 0: the model gives one of its layers .*: x must be finite"):
        layer_statistics(model, Calibration(torch.ones(2, 4)), *named(model, "1"), [1])


class Fading:
    """Gives fewer batches in every pass."""

    def __init__(self):
        self.left = 3

    def __iter__(self):
        batches = [torch.ones(2, 4)] * self.left
        self.left -= 1
        return iter(batches)


def test_data_that_change_between_passes():
    model, data = nn.Linear(4, 4), Calibration(Fading())
    found = survey(model, data, [only(model)])
    with pytest.raises(ValueError, match="gave 3 batches at first and 2 later"):
        layer_statistics(model, data, only(model), found.calls[""])


def test_attention_of_torch_does_not_pass_by_its_layers():
    model = nn.TransformerEncoder(nn.TransformerEncoderLayer(8, 2, 16, batch_first=True), 2).eval()
    parts = ("self_attn.in_proj_weight", "self_attn.out_proj", "linear1", "linear2")
    names = [f"layers.{number}.{part}" for number in range(2) for part in parts]
    fast = torch.backends.mha.get_fastpath_enabled()
    with evaluating(model):
        found = survey(model, Calibration(torch.randn(3, 5, 8)), known_weights(model))
    assert found.order == names
    assert torch.backends.mha.get_fastpath_enabled() == fast
