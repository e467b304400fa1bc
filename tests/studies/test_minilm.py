"""The sentence encoder of the example: against torch's own layers, and published figures of it."""

import functools
import itertools
import sys
from pathlib import Path
from typing import ClassVar

import numpy as np
import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("threadpoolctl")
pytest.importorskip("scipy")
sys.path.append(str(Path(__file__).parents[2]))

from torch import nn  # noqa: E402

import masksolve as ms  # noqa: E402
from benchmarks.instances import MissingWeightsError  # noqa: E402
from examples.post_training import encoder, fidelity, reordering, sentence_study, sentences  # noqa: E402

TINY = {"words": 50, "width": 16, "heads": 4, "hidden": 32, "longest": 12}


pytestmark = pytest.mark.usefixtures("one_thread")


def tiny(depth=2):
    torch.manual_seed(0)
    return encoder.Encoder(**TINY, depth=depth).eval()


def random_batches(seed, *, lengths=(3, 7, 9), size=8):
    generator = torch.Generator().manual_seed(seed)
    return [torch.randint(0, TINY["words"], (size, length), generator=generator) for length in lengths]


def torch_layer(layer):
    """The same weights in torch's own post-norm encoder layer."""
    width, hidden = layer.query.in_features, layer.expand.out_features
    other = nn.TransformerEncoderLayer(
        width, layer.heads, hidden, dropout=0.0, activation="gelu", batch_first=True, layer_norm_eps=1e-12
    ).eval()
    projections = (layer.query, layer.key, layer.value)
    weights = {
        "self_attn.in_proj_weight": torch.cat([each.weight for each in projections]),
        "self_attn.in_proj_bias": torch.cat([each.bias for each in projections]),
    }
    pairs = {
        "self_attn.out_proj": layer.mix,
        "linear1": layer.expand,
        "linear2": layer.contract,
        "norm1": layer.mix_norm,
        "norm2": layer.contract_norm,
    }
    for name, module in pairs.items():
        weights[f"{name}.weight"], weights[f"{name}.bias"] = module.weight, module.bias
    other.load_state_dict(weights)
    return other


class TestEncoder:
    def test_layers_are_those_of_torch(self):
        model = tiny()
        x = torch.randn(5, 7, TINY["width"])
        for layer in model.layers:
            torch.testing.assert_close(layer(x), torch_layer(layer)(x), atol=1e-5, rtol=1e-5)

    def test_embeddings_have_length_one_and_mind_the_order_of_words(self):
        model = tiny()
        tokens = torch.tensor([[1, 2, 3, 4], [4, 3, 2, 1]])
        found = encoder.embed(model, [tokens])
        torch.testing.assert_close(found.norm(dim=1), torch.ones(2))
        assert (found[0] - found[1]).abs().max() > 1e-3

    def test_batches_hold_every_sentence_once_and_one_length_each(self):
        tokens = [[1] * (1 + k % 4) for k in range(23)]
        found = encoder.batches(tokens, 3)
        assert max(len(batch) for batch in found) <= 3
        assert sorted(len(row) for batch in found for row in batch) == sorted(map(len, tokens))


@functools.cache
def published():
    """The pretrained encoder."""
    try:
        return encoder.load_encoder()
    except MissingWeightsError as error:
        pytest.skip(str(error))


def tokenize(texts):
    try:
        return encoder.tokenize(texts)
    except MissingWeightsError as error:
        pytest.skip(str(error))


class TestPublishedWeights:
    """Figures by ``transformers`` 5.23, ``BertModel`` with eager attention, mean pooling and normalising."""

    TOKENS: ClassVar = {
        "Return a shallow copy of the list.": [101, 2709, 1037, 8467, 6100, 1997, 1996, 2862, 1012, 102],
        "Résumé: the naïve café": [101, 13746, 1024, 1996, 15743, 7668, 102],
    }
    SIMILARITIES: ClassVar = {
        ("A man is eating food.", "A man eats a piece of bread."): 0.737412,
        ("A man is eating food.", "Return a shallow copy of the list."): 0.021082,
    }

    def test_tokens(self):
        assert tokenize(list(self.TOKENS)) == list(self.TOKENS.values())

    def test_long_sentences_are_cut(self):
        (tokens,) = tokenize(["word " * 100])
        assert len(tokens) == encoder.LONGEST

    @pytest.mark.parametrize("pair", SIMILARITIES)
    def test_similarities(self, pair):
        one, other = (encoder.embed(published(), [torch.tensor([tokens])])[0] for tokens in tokenize(pair))
        assert one @ other == pytest.approx(self.SIMILARITIES[pair], abs=1e-4)

    def test_first_entries_of_an_embedding(self):
        tokens = torch.tensor([self.TOKENS["Return a shallow copy of the list."]])
        np.testing.assert_allclose(
            encoder.embed(published(), [tokens])[0, :4],
            [-0.0436212, 0.0657650, 0.0859399, 0.0679206],
            atol=1e-5,
        )

    def test_paraphrases_are_closest(self):
        pairs = [
            ("Return the absolute value of a number.", "Compute the magnitude of the argument."),
            ("Close the network connection.", "Shut down the socket."),
            ("Sort the items of a list.", "Put the elements of a sequence in order."),
        ]
        texts = list(itertools.chain(*pairs))
        found = torch.cat([encoder.embed(published(), [torch.tensor([each])]) for each in tokenize(texts)])
        similarity = (found @ found.T).fill_diagonal_(-1)
        assert similarity.argmax(1).tolist() == [1, 0, 3, 2, 5, 4]


class TestFidelity:
    def unit(self, seed, rows=40, width=6):
        x = torch.randn(rows, width, generator=torch.Generator().manual_seed(seed))
        return nn.functional.normalize(x, dim=1)

    def test_the_same_embeddings_agree(self):
        x = self.unit(0)
        found = fidelity.fidelity(x, x)
        assert (found.rank_correlation, found.agreement) == (pytest.approx(1), 1)
        assert found.cosine == pytest.approx(1)

    def test_a_rotation_changes_the_cosine_alone(self):
        x = self.unit(1).double()
        rotation = torch.linalg.qr(torch.randn(6, 6, generator=torch.Generator().manual_seed(2)).double())[0]
        found = fidelity.fidelity(x, x @ rotation)
        assert found.rank_correlation == pytest.approx(1)
        assert found.agreement == 1
        assert found.cosine < 0.9

    def test_against_loops(self):
        dense, pruned = self.unit(3), nn.functional.normalize(self.unit(3) + 0.3 * self.unit(4), dim=1)
        found = fidelity.fidelity(dense, pruned)
        similar = [(x @ x.T).numpy() for x in (dense, pruned)]
        shared = 0
        for i in range(len(dense)):
            nearest = [
                set(sorted(set(range(len(dense))) - {i}, key=lambda j, s=s, i=i: -s[i, j])[:10])
                for s in similar
            ]
            shared += len(nearest[0] & nearest[1])
        assert found.agreement == pytest.approx(shared / (10 * len(dense)))
        pairs = list(itertools.combinations(range(len(dense)), 2))
        ranks = [np.argsort(np.argsort([s[i, j] for i, j in pairs])) for s in similar]
        assert found.rank_correlation == pytest.approx(np.corrcoef(*ranks)[0, 1], abs=1e-6)

    def test_too_few_sentences(self):
        with pytest.raises(ValueError, match="more than 10"):
            fidelity.fidelity(self.unit(0, 10), self.unit(0, 10))


class TestSentences:
    @pytest.mark.parametrize(
        ("docstring", "sentence"),
        [
            ("Return the sum of\n    two numbers. And more.", "Return the sum of two numbers."),
            ("Return the sum of two numbers.\n\nParameters follow.", "Return the sum of two numbers."),
            ("Too short.", ""),
            ("not a sentence because it begins small.", ""),
            ("No full stop at the end of it", ""),
            ("A formula like x[i] = y is no prose here.", ""),
            ("", ""),
        ],
    )
    def test_first_sentence(self, docstring, sentence):
        assert sentences._first_sentence(docstring) == sentence

    def test_reads_every_kind_of_docstring_once(self, tmp_path, monkeypatch):
        (tmp_path / "one.py").write_text(
            '"""The module says what it is for."""\n'
            'class A:\n    """The class says what it is for."""\n'
            '    async def f(self):\n        """The method says what it is for."""\n'
        )
        (tmp_path / "two.py").write_text(
            '"""the module says what it is for."""\n"""The MODULE says what it is for."""'
        )
        (tmp_path / "wrong.py").write_text("def (")
        monkeypatch.setattr(sentences, "PACKAGES", ())
        monkeypatch.setattr(sentences.sysconfig, "get_path", lambda _: str(tmp_path))
        assert sentences.first_sentences() == [
            ("one", "The module says what it is for."),
            ("one", "The class says what it is for."),
            ("one", "The method says what it is for."),
        ]

    def texts(self):
        return [sentences.Text(f"m{k % 9}", f"This is sentence number {k} of them.") for k in range(90)]

    def test_split_by_module_whatever_the_order(self):
        texts = self.texts()
        calibration, test = sentences.split(texts, 20, 20)
        module = {text.sentence: text.module for text in texts}
        assert len(calibration) == len(test) == 20
        assert {module[each] for each in calibration}.isdisjoint(module[each] for each in test)
        assert sentences.split(texts[::-1], 20, 20) == (calibration, test)
        assert sentences.split(texts, 10, 20)[0] == calibration[:10]

    def test_too_few(self):
        with pytest.raises(ValueError, match="calibration must be at most the"):
            sentences.split(self.texts(), 1000, 1)


class TestStudy:
    def test_errors_are_those_of_forward_passes(self):
        dense, pruned, test = tiny(), tiny(), random_batches(1)
        with torch.no_grad():
            pruned.layers[0].expand.weight[:, ::2] = 0
        found = sentence_study.output_errors(dense, pruned, test)
        seen = []
        pruned.layers[0].expand.register_forward_hook(
            lambda _m, given, _out: seen.append(given[0].flatten(0, 1))
        )
        encoder.embed(pruned, test)
        x = torch.cat(seen).double()
        whole, cut = (each.layers[0].expand.weight.detach().double() for each in (dense, pruned))
        expected = ((x @ (whole - cut).T) ** 2).sum() / ((x @ whole.T) ** 2).sum()
        assert found["layers.0.expand"] == pytest.approx(expected.item(), rel=1e-4)
        assert len(found) == 12
        assert sum(found.values()) == found["layers.0.expand"]

    @pytest.mark.parametrize("method", sentence_study.METHODS, ids=lambda method: method.name)
    def test_every_matrix_follows_the_pattern(self, method):
        model = tiny()
        errors = sentence_study.prune(model, random_batches(0), "2:4-T", **method.options)
        assert len(errors) == 12
        assert all(0 < error < 1 for error in errors.values())
        for name in errors:
            kept = model.get_submodule(name).weight.detach().numpy() != 0
            assert ms.verify(kept, "2:4-T").ok, name

    @pytest.mark.filterwarnings("ignore")
    @pytest.mark.parametrize("way", reordering.WAYS)
    def test_orders_leave_the_dense_encoder_as_it_was(self, way):
        model, data = tiny(), random_batches(0)
        dense, report = reordering.prune(model, data, "2:4-T", way)
        with torch.no_grad():
            torch.testing.assert_close(encoder.embed(dense, data), encoder.embed(tiny(), data))
        assert len(report.masks) == 12
        moved = not torch.equal(dense.layers[0].expand.weight, tiny().layers[0].expand.weight)
        assert moved == (way != "as it is")

    def test_rows_are_not_measured_again(self):
        model, data = tiny(depth=1), random_batches(0)
        rows = list(sentence_study.measure(model, data, data, patterns=("2:4", "2:4-T")))
        assert [(row.pattern, row.masks) for row in rows[:: len(sentence_study.METHODS)]] == [
            ("2:4", "exact"),
            ("2:4-T", "exact"),
            ("2:4-T", "greedy"),
        ]
        again = sentence_study.measure(model, data, data, patterns=("2:4", "2:4-T"), done=rows[1:])
        (first,) = again
        assert first.errors == rows[0].errors
