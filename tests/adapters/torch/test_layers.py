"""Which layers are pruned, and what is said about the others."""

import itertools

import pytest

torch = pytest.importorskip("torch")

from torch import nn  # noqa: E402

import masksolve as ms  # noqa: E402
from masksolve.adapters.torch import Choice, choose_weights  # noqa: E402

PATTERN = "4:8-T"


def chosen(choices: list[Choice]) -> list[str]:
    return [choice.name for choice in choices if not choice.skipped]


def reasons(choices: list[Choice]) -> dict[str, str]:
    return {choice.name: choice.skipped for choice in choices if choice.skipped}


def mlp(*widths: int) -> nn.Sequential:
    pairs = itertools.pairwise(widths)
    return nn.Sequential(*(layer for pair in pairs for layer in (nn.Linear(*pair), nn.ReLU())))


class Encoder(nn.Module):
    """Named as models are."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, 16, 3)
        self.blocks = nn.ModuleList(
            nn.ModuleDict({"mix": nn.Conv1d(16, 16, 3), "norm": nn.LayerNorm(16), "dense": nn.Linear(16, 32)})
            for _ in range(2)
        )
        self.head = nn.Linear(32, 10)


def test_first_and_last_stay_dense() -> None:
    choices = choose_weights(mlp(8, 16, 24, 32, 8), PATTERN)
    assert [choice.name for choice in choices] == ["0", "2", "4", "6"]
    assert chosen(choices) == ["2", "4"]
    assert reasons(choices) == dict.fromkeys(["0", "6"], "is the first or the last layer")
    assert all(isinstance(choice.layer, nn.Linear) for choice in choices)
    assert chosen(choose_weights(mlp(8, 16, 24, 32, 8), PATTERN, dense_ends=False)) == ["0", "2", "4", "6"]


def test_layers_that_do_not_fit_say_why() -> None:
    choices = choose_weights(mlp(8, 16, 20, 16, 16, 8), ms.Pattern.parse(PATTERN))
    assert chosen(choices) == ["6"]
    assert reasons(choices)["2"] == "has 20 outputs, which 8 does not divide"
    assert reasons(choices)["4"] == "has 20 inputs, which 8 does not divide"


@pytest.mark.parametrize(
    ("pattern", "fits"),
    [
        ("4:8", ["inputs"]),
        ("4:8 axis=-2", ["outputs"]),
        ("4:8-T", []),
        ("4:8-T pad", ["inputs", "outputs"]),
        ("4:8-T dense", ["inputs", "outputs"]),
    ],
)
def test_only_the_grouped_sides_must_fit(pattern: str, fits: list[str]) -> None:
    sides = {"inputs": (16, 20), "outputs": (20, 16), "both": (16, 16)}
    model = nn.ModuleDict({name: nn.Linear(*pair) for name, pair in sides.items()})
    assert chosen(choose_weights(model, pattern, dense_ends=False)) == [*fits, "both"]


@pytest.mark.parametrize(
    ("outputs", "inputs", "groups", "pattern", "reason"),
    [
        (16, 16, 2, "4:8-T", ""),
        (16, 16, 4, "4:8-T", "has 4 outputs in a group, which 8 does not divide"),
        (32, 16, 4, "4:8-T", "has 4 inputs, which 8 does not divide"),
        (32, 32, 8, "4:8 pad", ""),
        (32, 32, 8, "4:8-T pad", "has 4 outputs in a group, which 8 does not divide"),
        (32, 32, 8, "4:8 dense axis=-2", "has 4 outputs in a group, which 8 does not divide"),
        (32, 32, 32, "2:4", "has 1 inputs, which 4 does not divide"),
    ],
)
def test_grouped_convolutions(outputs: int, inputs: int, groups: int, pattern: str, reason: str) -> None:
    grouped = nn.Conv2d(inputs, outputs, 3, groups=groups)
    model = nn.ModuleDict({"grouped": grouped, "plain": nn.Conv1d(16, 16, 1)})
    found = choose_weights(model, pattern, dense_ends=False)
    assert found[0].skipped == reason
    assert found[1] == Choice("plain", model["plain"], "", pattern=ms.Pattern(pattern))


def test_tied_weights_stay_dense() -> None:
    model = nn.ModuleDict({name: nn.Linear(16, 16) for name in "abcd"})
    model["embedding"] = nn.Embedding(16, 16)
    model["b"].weight = model["embedding"].weight
    model["d"].weight = model["c"].weight
    choices = choose_weights(model, PATTERN, dense_ends=False)
    assert chosen(choices) == ["a"]
    assert reasons(choices) == {
        "b": "shares its weight with 'embedding.weight'",
        "embedding": "shares its weight with 'b.weight'",
        "c": "shares its weight with 'd.weight'",
        "d": "shares its weight with 'c.weight'",
    }


class Mixture(nn.Module):
    """Experts, what chooses between them, and a layer of theirs that is called a gate as well."""

    def __init__(self, **routers: nn.Module) -> None:
        super().__init__()
        self.experts = nn.ModuleList([nn.ModuleDict({"gate": nn.Linear(16, 16)}) for _ in range(4)])
        for name, router in routers.items():
            self.add_module(name, router)


@pytest.mark.parametrize(
    ("name", "router", "path"),
    [
        ("gate", nn.Linear(16, 4), "gate"),
        ("router", nn.Linear(16, 4), "router"),
        ("router", nn.ModuleDict({"layer": nn.Linear(16, 4)}), "router.layer"),
        ("gate", nn.ModuleDict({"wg": nn.Linear(16, 4)}), "gate.wg"),
        ("shared_expert_gate", nn.Linear(16, 4), "shared_expert_gate"),
    ],
)
def test_routers_stay_dense_unless_they_are_named(name: str, router: nn.Module, path: str) -> None:
    model = Mixture(**{name: router})
    experts = [f"experts.{n}.gate" for n in range(4)]
    found = choose_weights(model, PATTERN, dense_ends=False)
    assert chosen(found) == experts
    assert reasons(found) == {path: "is a router, which chooses between few experts"}
    assert chosen(choose_weights(model, PATTERN, layers=["*"])) == experts
    assert chosen(choose_weights(model, "2:4", layers=[path])) == [path]


def test_a_gate_without_experts_is_a_matrix_like_others() -> None:
    model = nn.ModuleDict({"gate": nn.Linear(16, 16), "up": nn.Linear(16, 16)})
    assert chosen(choose_weights(model, PATTERN, dense_ends=False)) == ["gate", "up"]


def test_a_tied_bias_is_no_reason() -> None:
    model = nn.ModuleDict({name: nn.Linear(16, 16) for name in "ab"})
    model["b"].bias = model["a"].bias
    assert chosen(choose_weights(model, PATTERN, dense_ends=False)) == ["a", "b"]


def test_parametrised_weights_stay_dense() -> None:
    model = mlp(16, 16, 16)
    nn.utils.parametrizations.orthogonal(model[0])
    assert reasons(choose_weights(model, PATTERN, dense_ends=False)) == {
        "0": "has a parametrised weight already"
    }


def test_names_and_wildcards() -> None:
    model = Encoder()
    assert chosen(choose_weights(model, PATTERN)) == [
        "blocks.0.mix",
        "blocks.0.dense",
        "blocks.1.mix",
        "blocks.1.dense",
    ]
    found = choose_weights(model, PATTERN, layers=["blocks.*.dense", "blocks.1.mix"])
    assert chosen(found) == ["blocks.0.dense", "blocks.1.mix", "blocks.1.dense"]
    assert reasons(found) == dict.fromkeys(["stem", "blocks.0.mix", "head"], "is not among layers=")
    found = choose_weights(model, PATTERN, skip=["*.mix", "stem"])
    assert chosen(found) == ["blocks.0.dense", "blocks.1.dense"]
    assert reasons(found)["blocks.1.mix"] == "is named in skip="
    assert chosen(choose_weights(model, PATTERN, layers=["*"], skip=["stem", "head", "*.dense"])) == [
        "blocks.0.mix",
        "blocks.1.mix",
    ]


def test_ends_that_are_asked_for_are_pruned() -> None:
    assert chosen(choose_weights(mlp(16, 16, 16), PATTERN, layers=["0"])) == ["0"]


def test_other_layers_that_multiply_are_chosen_too() -> None:
    model = nn.ModuleDict({"transposed": nn.ConvTranspose2d(16, 16, 3), "volume": nn.Conv3d(16, 16, 3)})
    model["linear"] = nn.Linear(16, 16)
    assert chosen(choose_weights(model, PATTERN, dense_ends=False)) == ["transposed", "volume", "linear"]


def test_paths_and_full_names() -> None:
    """A parameter that is not its layer's weight goes by its own name."""
    model = nn.ModuleDict({"attention": nn.MultiheadAttention(16, 2)})
    found = [(each.name, each.path, each.full_name) for each in choose_weights(model, PATTERN, layers=["*"])]
    assert found == [
        ("attention.in_proj_weight", "attention", "attention.in_proj_weight"),
        ("attention.out_proj", "attention.out_proj", "attention.out_proj.weight"),
    ]
    found = [
        (each.name, each.path, each.full_name)
        for each in choose_weights(nn.Linear(8, 8), "2:4", layers=["*"])
    ]
    assert found == [("", "", "weight")]


def test_a_model_that_is_a_layer() -> None:
    assert choose_weights(nn.Linear(16, 16), PATTERN, dense_ends=False)[0].name == ""


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"layers": ["head"]}, ValueError, r"layers: 'head' cannot be pruned to '4:8-T': it has 10 outputs"),
        (
            {"layers": ["tail"]},
            ValueError,
            r"layers: 'tail' matches no weight of two axes or more.*'blocks.0.mix'",
        ),
        (
            {"skip": ["blocks.*.norm"]},
            ValueError,
            r"skip: 'blocks.\*.norm' matches no weight of two axes",
        ),
        ({"layers": "head"}, TypeError, r"layers must be a sequence of names, got the string 'head'"),
        ({"skip": "head"}, TypeError, r"skip must be a sequence of names, got the string 'head'"),
        ({"skip": ["blocks*"]}, ValueError, r"no layer to prune to '4:8-T': 'stem' has 3 inputs.*; .*skip="),
        ({"layers": []}, ValueError, r"no layer to prune .*is not among layers="),
    ],
)
def test_wrong_choices_are_refused(options: dict[str, object], error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        choose_weights(Encoder(), PATTERN, **options)


def test_a_model_with_nothing_to_prune() -> None:
    with pytest.raises(ValueError, match="it has no Linear or Conv"):
        choose_weights(nn.LayerNorm(8), PATTERN)
    with pytest.raises(ValueError, match="'' is the first or the last layer"):
        choose_weights(nn.Linear(16, 16), PATTERN)
    with pytest.raises(ValueError, match="n must be between"):
        choose_weights(Encoder(), "9:8")
