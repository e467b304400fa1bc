"""Pruning that was broken off goes on, and only from where the same call left it."""

from dataclasses import replace

import pytest

torch = pytest.importorskip("torch")
from pruning_models import MODELS, X, assert_same, state  # noqa: E402
from small_models import perceptron  # noqa: E402

from masksolve.adapters import torch as mt  # noqa: E402


@pytest.mark.parametrize("options", [{"saliency": "obs", "bias_correction": True}, {"exchanges": 5}])
@pytest.mark.parametrize("kind", MODELS)
def test_resuming_gives_the_same_weights(kind, options, tmp_path):
    make, x = MODELS[kind]
    path, done = tmp_path / "half.pt", []
    wanted, model = make(), make()
    arguments = {**options, "dense_ends": False}
    full = mt.adaprune(wanted, x, "2:4", **arguments)

    def stop(number, total):
        if number == 2:
            raise KeyboardInterrupt("enough")

    before = state(model)
    with pytest.raises(KeyboardInterrupt):
        mt.adaprune(model, x, "2:4", **arguments, checkpoint=path, progress=stop)
    assert_same(model, before)
    assert sorted(file.name for file in path.iterdir() if file.suffix == ".pt")[0].startswith("00000-")
    assert len(list(path.glob("*.pt"))) == 2
    for _ in range(2):  # after an interruption, and after the end
        resumed = mt.adaprune(
            model, x, "2:4", **arguments, checkpoint=path, progress=lambda *each: done.append(each)
        )
        for name, tensor in wanted.state_dict().items():
            assert torch.equal(model.state_dict()[name], tensor), name
        records = [[replace(each, seconds=0.0) for each in report.layers] for report in (resumed, full)]
        assert records[0] == records[1]
        assert all(torch.equal(resumed.masks[name], mask) for name, mask in full.masks.items())
        model = make()
    assert len(list(path.iterdir())) == len(full.layers) + 1, "one file a layer, and the fingerprint"


def test_a_checkpoint_of_something_else_is_refused(tmp_path):
    path = tmp_path / "done.pt"
    mt.adaprune(perceptron(), X, "2:4", dense_ends=False, checkpoint=path)
    others = [
        ((perceptron(), X, "2:4-T"), {}, "pattern"),
        ((perceptron(), X, "2:4"), {"damping": 0.1}, "damping"),
        ((perceptron(), X, "2:4"), {"exchanges": 2}, "exchanges"),
        ((perceptron(), X + 1, "2:4"), {}, "calibration"),
        ((perceptron(seed=1), X, "2:4"), {}, "model"),
        ((perceptron(), X, "2:4"), {"skip": ["2"]}, "layers"),
    ]
    for arguments, options, differing in others:
        before = state(arguments[0])
        with pytest.raises(ValueError, match=rf"belongs to a run that differs in \['{differing}'\]"):
            mt.adaprune(*arguments, dense_ends=False, checkpoint=path, **options)
        assert_same(arguments[0], before)
    (path / "fingerprint.json").write_bytes(b"nothing of the kind")
    with pytest.raises(ValueError, match="is not a folder that adaprune wrote"):
        mt.adaprune(perceptron(), X, "2:4", dense_ends=False, checkpoint=path)
    with pytest.raises(ValueError, match="is not a folder that adaprune wrote"):
        mt.adaprune(perceptron(), X, "2:4", dense_ends=False, checkpoint=path / "fingerprint.json")
