"""Every weight is masked in the plane that its layer multiplies in, and what is left dense is named."""

import copy
import pickle

import numpy as np
import pytest

import masksolve as ms
from masksolve.adapters.plane import Plane

torch = pytest.importorskip("torch")

from torch import nn  # noqa: E402

from masksolve.adapters import torch as mt  # noqa: E402

pytestmark = pytest.mark.usefixtures("one_thread")

PATTERNS = ("2:4", "2:4 axis=-2", "2:4-T", "3:8-T")


class Conv1D(nn.Module):
    """As GPT-2's, by the name that masksolve knows it by."""

    def __init__(self, nf, nx):
        super().__init__()
        self.weight = nn.Parameter(torch.randn(nx, nf))
        self.bias = nn.Parameter(torch.zeros(nf))

    def forward(self, x):
        return x @ self.weight + self.bias


Conv1D.__module__ = "transformers.pytorch_utils"


class Experts(nn.Module):
    """Stacks of matrices; ``transposed`` as some models keep them, ``flag`` as transformers marks those."""

    def __init__(self, count, width, inner, *, transposed=False, flag=None):
        super().__init__()
        self.hidden_size = width
        shapes = {"gate_up_proj": (2 * inner, width), "down_proj": (width, inner)}
        for name, shape in shapes.items():
            setattr(self, name, nn.Parameter(torch.randn(count, *(shape[::-1] if transposed else shape))))
        self.gate_up_proj_bias = nn.Parameter(torch.zeros(count, 2 * inner))
        if flag is not None:
            self.is_transposed = flag


def grouped(weight, groups):
    """(outputs, inputs, *kernel) of a grouped convolution as its matrices, kernel places in front."""
    return np.moveaxis(weight.reshape(groups, -1, *weight.shape[1:]), (1, 2), (-2, -1))


LAYERS = {
    "linear": (lambda: nn.Linear(16, 32), "weight", lambda w: w),
    "conv1d": (lambda: nn.Conv1d(16, 32, 5), "weight", lambda w: w.transpose(2, 0, 1)),
    "conv2d": (lambda: nn.Conv2d(16, 32, (3, 8)), "weight", lambda w: w.transpose(2, 3, 0, 1)),
    "conv3d": (lambda: nn.Conv3d(16, 32, (2, 1, 2)), "weight", lambda w: w.transpose(2, 3, 4, 0, 1)),
    "grouped": (lambda: nn.Conv2d(32, 16, 3, groups=2), "weight", lambda w: grouped(w, 2)),
    "upward1d": (lambda: nn.ConvTranspose1d(16, 32, 4), "weight", lambda w: w.transpose(2, 1, 0)),
    "upward2d": (lambda: nn.ConvTranspose2d(16, 32, 2), "weight", lambda w: w.transpose(2, 3, 1, 0)),
    "upward_grouped": (
        lambda: nn.ConvTranspose2d(32, 16, 2, groups=2),
        "weight",
        lambda w: w.reshape(2, 16, 8, 2, 2).transpose(0, 3, 4, 2, 1),
    ),
    "gpt2": (lambda: Conv1D(48, 16), "weight", lambda w: w.T),
    "attention": (
        lambda: nn.MultiheadAttention(16, 2),
        "in_proj_weight",
        lambda w: w.reshape(3, 16, 16),
    ),
    "attention_keys": (lambda: nn.MultiheadAttention(16, 2, kdim=32), "k_proj_weight", lambda w: w),
    "experts": (lambda: Experts(3, 16, 24), "gate_up_proj", lambda w: w),
    "experts_down": (lambda: Experts(3, 16, 24), "down_proj", lambda w: w),
    "experts_flagged": (
        lambda: Experts(3, 16, 16, transposed=True, flag=True),
        "down_proj",
        lambda w: w.transpose(0, 2, 1),
    ),
    "experts_unflagged": (
        lambda: Experts(3, 16, 24, transposed=True),
        "gate_up_proj",
        lambda w: w.transpose(0, 2, 1),
    ),
    "experts_unflagged_down": (
        lambda: Experts(3, 16, 24, transposed=True),
        "down_proj",
        lambda w: w.transpose(0, 2, 1),
    ),
}
EVERY = pytest.mark.parametrize(("make", "name", "matrices"), LAYERS.values(), ids=LAYERS)


@EVERY
@pytest.mark.parametrize("pattern", PATTERNS)
def test_masks_are_best_in_the_plane_of_the_product(make, name, matrices, pattern):
    torch.manual_seed(0)
    layer = make()
    weight = getattr(layer, name).detach().clone().numpy()
    sparsifier = mt.sparsify(nn.ModuleDict({"experts": layer}), pattern, dense_ends=False)
    (record,) = [r for r in sparsifier.report().layers if r.name in ("experts", f"experts.{name}")]
    assert not record.skipped
    sparsifier.finalize()
    sparse = getattr(layer, name).detach().numpy()
    mask = sparse != 0
    assert np.array_equal(sparse, np.where(mask, weight, 0))
    assert ms.verify(matrices(mask), pattern).ok
    best = ms.solve(
        np.ascontiguousarray(matrices(np.abs(weight))),
        pattern,
        backend="highs" if "T" in pattern else "exact",
    )
    assert np.abs(sparse).sum() == pytest.approx(best.objective, rel=1e-5)


@EVERY
def test_layers_run_copy_and_come_back_as_they_were(make, name, matrices):
    layer = make()
    before = [key for key, _ in layer.named_parameters()]
    sparsifier = mt.sparsify(nn.ModuleDict({"experts": layer}), "2:4-T", dense_ends=False)
    for twin in (
        copy.deepcopy(layer),
        *([pickle.loads(pickle.dumps(layer))] if "Conv1D" not in str(type(layer)) else []),
    ):
        assert torch.equal(getattr(twin, name), getattr(layer, name))
        mt.finalize(twin)
        assert [key for key, _ in twin.named_parameters()] == before
        assert torch.equal(getattr(twin, name), getattr(layer, name))
    assert sparsifier.masks
    sparsifier.finalize()
    assert [key for key, _ in layer.named_parameters()] == before


def test_attention_learns_under_masks():
    torch.manual_seed(0)
    model = nn.TransformerEncoderLayer(16, 2, 32, batch_first=True, dropout=0.0)
    sparsifier = mt.sparsify(model, "2:4-T", refresh_every=1, dense_ends=False)
    assert set(sparsifier.masks) == {"self_attn.in_proj_weight", "self_attn.out_proj", "linear1", "linear2"}
    x = torch.randn(2, 5, 16)
    model(x).square().sum().backward()
    assert all(weight.grad is not None for weight in sparsifier.dense_weights.values())
    sparsifier.step()
    training = model(x)
    model.eval()
    with torch.no_grad():
        torch.testing.assert_close(model(x), training)  # the fast path reads the same weights
    torch.testing.assert_close(sparsifier.finalize()(x), training)


class Everything(nn.Module):
    def __init__(self):
        super().__init__()
        self.tokens = nn.Embedding(32, 16)
        self.places = nn.Parameter(torch.zeros(1, 8, 16))
        self.blocks = nn.ModuleList(nn.TransformerEncoderLayer(16, 2, 32) for _ in range(2))
        self.memory = nn.LSTM(16, 16)
        self.form = nn.Bilinear(16, 16, 16)
        self.norm = nn.LayerNorm((8, 16))
        self.whole = nn.Linear(16, 16)
        self.lengths = nn.Parameter(torch.ones(16, 16, dtype=torch.float32))
        self.head = nn.Linear(16, 32, bias=False)
        self.head.weight = self.tokens.weight


def test_every_parameter_of_two_axes_is_reported():
    model = Everything()
    choices = {choice.name: choice.skipped for choice in mt.choose_weights(model, "2:4-T")}
    full = {name for name, each in model.named_parameters(remove_duplicate=False) if each.ndim > 1}
    assert {name.removesuffix(".weight") for name in full} == set(choices)
    masked = {name for name, reason in choices.items() if not reason}
    each = ("self_attn.in_proj_weight", "self_attn.out_proj", "linear1", "linear2")
    assert masked == {f"blocks.{n}.{name}" for n in range(2) for name in each}
    assert choices["tokens"].startswith("shares its weight with 'head.weight'")
    assert choices["head"] == "shares its weight with 'tokens.weight'"
    assert "packed copy" in choices["memory.weight_ih_l0"]
    assert "belongs to a Bilinear" in choices["form"]
    assert "belongs to a Everything" in choices["places"]
    assert "before or after the model's blocks" in choices["whole"]
    report = str(mt.sparsify(model, "2:4-T").report())
    assert all(f" {name} " in report for name in choices)


def test_planes_say_how_unknown_layers_multiply():
    model = Everything()
    choices = mt.choose_weights(
        model, "2:4", planes={"lengths": Plane(1, 0), "places": Plane(1, 2)}, dense_ends=False
    )
    found = {choice.name: choice for choice in choices}
    assert found["lengths"].skipped == found["places"].skipped == ""
    assert found["lengths"].plane == Plane(rows=1, columns=0)
    with pytest.raises(ValueError, match=r"planes: 'length' matches no parameter .* 'tokens.weight'"):
        mt.choose_weights(model, "2:4", planes={"length": Plane()})
    with pytest.raises(ValueError, match="weight must have the axes"):
        mt.choose_weights(model, "2:4", planes={"lengths": Plane(1, 2)})


def test_embeddings_are_masked_only_by_name():
    model = nn.ModuleDict({"tokens": nn.Embedding(32, 16), "a": nn.Linear(16, 16), "b": nn.Linear(16, 16)})
    wild = {c.name for c in mt.choose_weights(model, "2:4", layers=["*"]) if not c.skipped}
    assert wild == {"a", "b"}
    named = {c.name for c in mt.choose_weights(model, "2:4", layers=["tokens"]) if not c.skipped}
    assert named == {"tokens"}


def test_blocks_are_pruned_whole():
    """The first layer of the first block is no end of the model."""
    model = nn.Sequential(
        nn.Linear(16, 16),
        nn.Sequential(*(nn.Sequential(nn.Linear(16, 16), nn.ReLU()) for _ in range(3))),
        nn.Linear(16, 8),
    )
    assert [c.name for c in mt.choose_weights(model, "2:4") if not c.skipped] == ["1.0.0", "1.1.0", "1.2.0"]


def test_shapes_that_kernels_refuse_are_flagged():
    model = nn.Sequential(nn.Linear(32, 48), nn.Linear(48, 24))
    notes = [layer.note for layer in mt.sparsify(model, "2:4-T", dense_ends=False).report().layers]
    assert notes[0] == ""
    assert "24x48 is no multiple of 16x16" in notes[1]


def test_a_tensor_of_three_axes_needs_a_plane():
    w = torch.randn(8, 16, 16)
    with pytest.raises(ValueError, match=r"plane must say how w of shape \(8, 16, 16\) multiplies"):
        mt.mask(w, "2:4")
    experts, kernel = mt.mask(w, "2:4", plane=Plane(-2, -1)), mt.mask(w, "2:4", plane=Plane())
    assert ms.verify(experts, "2:4").ok
    assert ms.verify(kernel.permute(2, 0, 1), "2:4").ok
    assert not ms.verify(kernel, "2:4").ok
    compiled = torch.compile(
        lambda w: mt.mask(w, "2:4", plane=Plane(-2, -1)), fullgraph=True, backend="aot_eager"
    )
    assert torch.equal(compiled(w), experts)
    assert torch.equal(torch.vmap(lambda w: mt.mask(w, "2:4"))(w), experts)


@pytest.mark.parametrize(
    ("plane", "shape"),
    [
        (Plane(), (6, 4, 3, 2)),
        (Plane(1, 0, parts=2), (6, 4, 3)),
        (Plane(-1, -2), (2, 3, 4)),
        (Plane(0, (1, 2)), (4, 2, 3)),
        (Plane((0, 2), 1), (4, 2, 3)),
        (Plane(parts=3), (6, 4)),
        (Plane((2, 0), 3), (2, 3, 4, 5)),
    ],
)
def test_planes_go_and_come_back_in_every_library(plane, shape):
    jnp = pytest.importorskip("jax.numpy")
    values = np.arange(np.prod(shape)).reshape(shape)
    for array in (values, torch.from_numpy(values), jnp.asarray(values)):
        matrices = plane.matrices(array)
        assert tuple(matrices.shape) == plane.shape(shape)
        assert np.array_equal(np.asarray(matrices), plane.matrices(values))
        assert np.array_equal(np.asarray(plane.weight(matrices, shape)), values)


def test_a_plane_of_many_axes_against_einsum():
    w, x = np.random.default_rng(0).standard_normal((4, 2, 3)), np.arange(4.0)
    by_matrix = Plane(columns=0, rows=(1, 2)).matrices(w) @ x
    assert np.allclose(by_matrix, np.einsum("dhk,d->hk", w, x).ravel())


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({"rows": 0.5}, TypeError, "rows must be an axis or a tuple of axes, got 0.5"),
        ({"columns": ()}, ValueError, "columns must name at least one axis"),
        ({"rows": (0, 1)}, ValueError, r"different axes, got \(0, 1\) and \(1,\)"),
        ({"parts": 0}, ValueError, "parts must be at least 1"),
        ({"parts": True}, TypeError, "parts must be an integer"),
    ],
)
def test_wrong_planes_are_refused(arguments, error, message):
    with pytest.raises(error, match=message):
        Plane(**arguments)


def test_planes_that_do_not_fit_are_refused():
    with pytest.raises(ValueError, match="different axes"):
        Plane(0, -1).shape((4,))
    with pytest.raises(ValueError, match="3 parts divide"):
        Plane(parts=3).shape((4, 4))
