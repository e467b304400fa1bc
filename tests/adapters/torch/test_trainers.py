"""Sparse training under others' trainers: killed and resumed, it ends as if it had never stopped.

The libraries come with the extra ``trainers-test``.
"""

import copy
import importlib.util
import os
import signal
import subprocess
import sys

import pytest

import masksolve as ms

torch = pytest.importorskip("torch")

from torch import nn  # noqa: E402

from masksolve.adapters import torch as mt  # noqa: E402

pytestmark = [
    pytest.mark.usefixtures("one_thread"),
    pytest.mark.filterwarnings("ignore"),  # what the trainers say about themselves
]

STEPS, STOP = 8, 4
OPTIONS = {
    "pattern": "4:8-T",
    "refresh_every": 2,
    "decay": 1e-3,
    "density": mt.CubicRamp(final=0.5, steps=6),
}


def assert_same(one, other):
    ours, theirs = one.state_dict(), other.state_dict()
    assert list(ours) == list(theirs)
    assert all(torch.equal(ours[name], theirs[name]) for name in ours)


def assert_sparse(model, names):
    for name in names:
        weight = model.get_parameter(f"{name}.weight").detach()
        assert ms.verify(weight.numpy() != 0, "4:8-T").ok
        assert weight.count_nonzero() == weight.numel() / 2


class Stopped(Exception):
    """Stands for a killed process."""


def stop(for_good):
    """End a training between two checkpoints: by an exception or, with no farewell, by the system."""
    if for_good:
        os.kill(os.getpid(), signal.SIGKILL)
    raise Stopped


@pytest.fixture
def transformers():
    pytest.importorskip("accelerate", reason="needs accelerate: pip install 'masksolve[trainers-test]'")
    return pytest.importorskip(
        "transformers", reason="needs transformers: pip install 'masksolve[trainers-test]'"
    )


def bert(transformers, seed=0):
    torch.manual_seed(seed)
    config = transformers.BertConfig(
        vocab_size=32,
        hidden_size=16,
        intermediate_size=32,
        num_hidden_layers=2,
        num_attention_heads=2,
        max_position_embeddings=8,
        num_labels=2,
    )
    return transformers.BertForSequenceClassification(config)


def hugging_face(transformers, folder, model, *extra, resume=None, options=OPTIONS, **arguments):
    """Train; the callback and the Trainer."""
    from masksolve.adapters.torch.integrations.transformers import SparsifyCallback

    generator = torch.Generator().manual_seed(0)
    tokens = torch.randint(0, 32, (32, 8), generator=generator)
    data = [{"input_ids": row, "labels": row[0] % 2} for row in tokens]
    arguments = transformers.TrainingArguments(
        output_dir=str(folder),
        max_steps=STEPS,
        per_device_train_batch_size=4,
        save_steps=STOP,
        learning_rate=1e-2,
        report_to=[],
        use_cpu=True,
        disable_tqdm=True,
        dataloader_pin_memory=False,
        **arguments,
    )
    callback = SparsifyCallback(**options)
    trainer = transformers.Trainer(
        model, arguments, train_dataset=data, eval_dataset=data[:8], callbacks=[callback, *extra]
    )
    trainer.train(resume_from_checkpoint=resume)
    return callback, trainer


def killer(transformers, *, for_good=False):
    class Killer(transformers.TrainerCallback):
        def on_step_end(self, args, state, control, **kwargs):
            if state.global_step == STOP + 1:
                stop(for_good)

    return Killer()


@pytest.mark.parametrize("accumulate", [1, 2])
def test_a_resumed_trainer_ends_as_an_unbroken_one(transformers, tmp_path, accumulate):
    options = {"gradient_accumulation_steps": accumulate}
    whole = bert(transformers)
    callback, _ = hugging_face(transformers, tmp_path / "whole", whole, **options)
    assert callback.sparsifier.steps == STEPS
    layers = [choice.name for choice in callback.sparsifier.choices if not choice.skipped]
    assert len(layers) == 12
    assert_sparse(whole, layers)
    killed = tmp_path / "killed"
    with pytest.raises(Stopped):
        hugging_face(transformers, killed, bert(transformers), killer(transformers), **options)
    resumed = bert(transformers, seed=1)
    again, _ = hugging_face(
        transformers, killed, resumed, resume=str(killed / f"checkpoint-{STOP}"), **options
    )
    assert_same(resumed, whole)
    assert [r[:8] for r in again.sparsifier.records] == [r[:8] for r in callback.sparsifier.records]


def test_an_unfinished_checkpoint_loads_as_the_model_computes(transformers, tmp_path):
    model = bert(transformers).eval()
    sparsifier = mt.sparsify(model, "2:4", refresh_every=1)
    assert copy.deepcopy(model).save_pretrained.model is not model
    inputs = torch.arange(8).reshape(1, 8)
    expected = model(inputs).logits
    model.save_pretrained(tmp_path / "unfinished")
    loaded = transformers.BertForSequenceClassification.from_pretrained(tmp_path / "unfinished").eval()
    assert torch.equal(loaded(inputs).logits, expected)
    assert torch.equal(model(inputs).logits, expected)
    masked = mt.sparsify(copy.deepcopy(loaded), "2:4")
    masked.model.load_state_dict(loaded.state_dict())  # a plain state into a masked model
    assert torch.equal(masked.finalize()(inputs).logits, expected)
    sparsifier.finalize()
    assert "save_pretrained" not in vars(model)
    model.save_pretrained(tmp_path / "finished")
    assert_same(transformers.BertForSequenceClassification.from_pretrained(tmp_path / "finished"), model)


def test_the_best_model_is_loaded_under_its_masks(transformers, tmp_path):
    model = bert(transformers)
    callback, trainer = hugging_face(
        transformers,
        tmp_path,
        model,
        options={"pattern": "2:4-T", "refresh_every": 1},
        load_best_model_at_end=True,
        eval_strategy="steps",
        eval_steps=STOP,
        metric_for_best_model="loss",
    )
    best = transformers.BertForSequenceClassification.from_pretrained(trainer.state.best_model_checkpoint)
    assert_same(best, model)
    assert_sparse(model, [choice.name for choice in callback.sparsifier.choices if not choice.skipped])


def test_a_ramp_that_training_cuts_short_is_an_error(transformers, tmp_path):
    late = {**OPTIONS, "density": mt.CubicRamp(final=0.5, steps=10 * STEPS)}
    with pytest.raises(ms.PatternViolationError, match="must follow '4:8-T' by now, but after 8 steps it is"):
        hugging_face(transformers, tmp_path, bert(transformers), options=late)
    model = bert(transformers)
    hugging_face(transformers, tmp_path, model, options={**late, "allow_unfinished": True})
    assert not hasattr(model.bert.encoder.layer[0].output.dense, "parametrizations")


def test_a_checkpoint_without_masks_is_no_start(transformers, tmp_path):
    hugging_face(transformers, tmp_path, bert(transformers))
    place = tmp_path / f"checkpoint-{STOP}"
    (place / "masksolve.pt").unlink()
    model = bert(transformers)
    with pytest.raises(ValueError, match="resume_from must name the folder of the checkpoint after 4 steps"):
        hugging_face(transformers, tmp_path, model, resume=str(place))
    assert not hasattr(model.bert.encoder.layer[0].output.dense, "parametrizations")


def lightning_fit(folder, model, *extra, resume=None, options=OPTIONS):
    lightning = pytest.importorskip(
        "lightning", reason="needs lightning: pip install 'masksolve[trainers-test]'"
    )
    from masksolve.adapters.torch.integrations.lightning import SparsifyCallback

    generator = torch.Generator().manual_seed(0)
    data = torch.utils.data.TensorDataset(torch.randn(32, 8, generator=generator))  # resumed between epochs

    class Module(lightning.LightningModule):
        def __init__(self):
            super().__init__()
            self.model = model

        def training_step(self, batch, index):
            return (self.model(batch[0]) - batch[0].sin()).square().mean()

        def configure_optimizers(self):
            return torch.optim.Adam(self.parameters(), lr=1e-2)

    callback = SparsifyCallback(**options)
    checkpoints = lightning.pytorch.callbacks.ModelCheckpoint(
        dirpath=folder, every_n_train_steps=STOP, save_top_k=-1, filename="{step}"
    )
    trainer = lightning.Trainer(
        max_steps=STEPS,
        accumulate_grad_batches=2,
        callbacks=[callback, checkpoints, *extra],
        logger=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        accelerator="cpu",
        devices=1,
    )
    trainer.fit(Module(), torch.utils.data.DataLoader(data, batch_size=4), ckpt_path=resume)
    return callback


def perceptron(seed):
    torch.manual_seed(seed)
    return nn.Sequential(nn.Linear(8, 16), nn.GELU(), nn.Linear(16, 16), nn.GELU(), nn.Linear(16, 8))


def lightning_killer(*, for_good=False):
    lightning = pytest.importorskip(
        "lightning", reason="needs lightning: pip install 'masksolve[trainers-test]'"
    )

    class Killer(lightning.Callback):
        def on_train_batch_end(self, trainer, *args):
            if trainer.global_step == STOP + 1:
                stop(for_good)

    return Killer()


def test_a_resumed_lightning_fit_ends_as_an_unbroken_one(tmp_path):
    whole, resumed = perceptron(0), perceptron(1)
    callback = lightning_fit(tmp_path / "whole", whole)
    assert callback.sparsifier.steps == STEPS
    assert_sparse(whole, ["2"])
    with pytest.raises(Stopped):
        lightning_fit(tmp_path / "killed", perceptron(0), lightning_killer())
    again = lightning_fit(tmp_path / "killed", resumed, resume=tmp_path / "killed" / f"step={STOP}.ckpt")
    assert_same(resumed, whole)
    assert [r[:8] for r in again.sparsifier.records] == [r[:8] for r in callback.sparsifier.records]


def accelerated(folder, seed, *, kill=False, for_good=False, resume=False, options=OPTIONS):
    accelerate = pytest.importorskip(
        "accelerate", reason="needs accelerate: pip install 'masksolve[trainers-test]'"
    )
    from masksolve.adapters.torch.integrations.accelerate import SparsifyCallback

    accelerator = accelerate.Accelerator(cpu=True, gradient_accumulation_steps=2)
    model = perceptron(seed)
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-2)
    model, optimizer = accelerator.prepare(model, optimizer)
    callback = SparsifyCallback(accelerator, model, **options)
    if resume:
        accelerator.load_state(folder)
    for batch in range(2 * callback.sparsifier.steps, 2 * STEPS):
        x = torch.randn(4, 8, generator=torch.Generator().manual_seed(batch))
        with accelerator.accumulate(model):
            accelerator.backward((model(x) - x.sin()).square().mean())
            optimizer.step()
            callback.step()
            optimizer.zero_grad()
        if kill and batch == 2 * STOP - 1:
            accelerator.save_state(folder)
        if kill and batch == 2 * STOP + 2:  # between two batches whose gradients are added up
            stop(for_good)
    return callback.finalize()


def test_a_resumed_accelerated_loop_ends_as_an_unbroken_one(tmp_path):
    whole = accelerated(tmp_path, 0)
    assert_sparse(whole, ["2"])
    with pytest.raises(Stopped):
        accelerated(tmp_path / "state", 0, kill=True)
    assert_same(accelerated(tmp_path / "state", 1, resume=True), whole)


def test_no_trainer_lets_a_ramp_be_cut_short(tmp_path):
    late = {**OPTIONS, "density": mt.CubicRamp(final=0.5, steps=10 * STEPS)}
    for train in (
        lambda options: lightning_fit(tmp_path / "lightning", perceptron(0), options=options),
        lambda options: accelerated(tmp_path, 0, options=options),
    ):
        with pytest.raises(ms.PatternViolationError, match="must follow '4:8-T' by now, but after 8 steps"):
            train(late)
    model = perceptron(0)
    lightning_fit(tmp_path / "allowed", model, options={**late, "allow_unfinished": True})
    assert not hasattr(model[2], "parametrizations")


def killed(folder):
    """Start each trainer in a process of its own, and let it be killed; for a process without threads."""
    transformers = importlib.import_module("transformers")
    trainings = (
        lambda: hugging_face(
            transformers, f"{folder}/transformers", bert(transformers), killer(transformers, for_good=True)
        ),
        lambda: lightning_fit(f"{folder}/lightning", perceptron(0), lightning_killer(for_good=True)),
        lambda: accelerated(f"{folder}/accelerate", 0, kill=True, for_good=True),
    )
    torch.set_num_threads(1)
    for training in trainings:
        child = os.fork()
        if child == 0:
            try:
                training()
            finally:
                os._exit(1)
        _, status = os.waitpid(child, 0)
        assert os.WIFSIGNALED(status), status
        assert os.WTERMSIG(status) == signal.SIGKILL


@pytest.mark.skipif(sys.platform != "linux", reason="forks a process that has imported torch")
def test_killed_processes_are_resumed_as_if_nothing_had_happened(transformers, tmp_path):
    pytest.importorskip("lightning", reason="needs lightning: pip install 'masksolve[trainers-test]'")
    program = (
        "import importlib.util, sys\n"
        "spec = importlib.util.spec_from_file_location('trainers', sys.argv[1])\n"
        "trainers = importlib.util.module_from_spec(spec)\n"
        "spec.loader.exec_module(trainers)\n"
        "trainers.killed(sys.argv[2])\n"
    )
    command = [sys.executable, "-W", "ignore", "-c", program, __file__, str(tmp_path)]
    ran = subprocess.run(command, check=False, capture_output=True, text=True)
    assert ran.returncode == 0, ran.stderr
    by_trainer, whole = bert(transformers, seed=1), bert(transformers)
    checkpoint = str(tmp_path / "transformers" / f"checkpoint-{STOP}")
    hugging_face(transformers, tmp_path / "transformers", by_trainer, resume=checkpoint)
    hugging_face(transformers, tmp_path / "whole", whole)
    assert_same(by_trainer, whole)
    by_lightning, whole = perceptron(1), perceptron(0)
    checkpoint = tmp_path / "lightning" / f"step={STOP}.ckpt"
    lightning_fit(tmp_path / "lightning", by_lightning, resume=checkpoint)
    lightning_fit(tmp_path / "whole", whole)
    assert_same(by_lightning, whole)
    assert_same(accelerated(tmp_path / "accelerate", 1, resume=True), accelerated(tmp_path, 0))
