"""How much of a sentence encoder's work is left after pruning, with the dense one as the truth."""

from __future__ import annotations

from dataclasses import dataclass

import torch

NEIGHBOURS = 10


@dataclass(frozen=True)
class Fidelity:
    """Agreement of two sets of embeddings of the same sentences; 1 is perfect in all three.

    Attributes
    ----------
    cosine : float
        Mean over sentences of the cosine between both embeddings.
    rank_correlation : float
        Spearman's, over all pairs of sentences, between both similarities of the pair.
    agreement : float
        Mean share of a sentence's nearest neighbours, `NEIGHBOURS` of them, that both have.
    """

    cosine: float
    rank_correlation: float
    agreement: float


def fidelity(dense: torch.Tensor, pruned: torch.Tensor) -> Fidelity:
    """Compare embeddings (sentences, width) of length one.

    Raises
    ------
    ValueError
        If shapes differ or there are no more sentences than neighbours to look for.
    """
    from scipy.stats import spearmanr

    if dense.shape != pruned.shape or len(dense) <= NEIGHBOURS:
        raise ValueError(
            f"dense and pruned must be of one shape (more than {NEIGHBOURS}, width), "
            f"got {tuple(dense.shape)} and {tuple(pruned.shape)}"
        )
    similarities = [x @ x.T for x in (dense, pruned)]
    row, column = torch.triu_indices(len(dense), len(dense), 1)
    pairs = [similarity[row, column].numpy() for similarity in similarities]
    found = [_nearest(similarity) for similarity in similarities]
    shared = (found[0][:, :, None] == found[1][:, None, :]).sum((1, 2))
    return Fidelity(
        cosine=(dense * pruned).sum(1).mean().item(),
        rank_correlation=float(spearmanr(*pairs).statistic),
        agreement=shared.double().mean().item() / NEIGHBOURS,
    )


def _nearest(similarity: torch.Tensor) -> torch.Tensor:
    """Each sentence's neighbours, itself left out: (sentences, `NEIGHBOURS`)."""
    others = similarity.clone().fill_diagonal_(-torch.inf)
    return others.topk(NEIGHBOURS, dim=1).indices
