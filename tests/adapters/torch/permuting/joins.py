"""Small networks of forks and joins, shared and shuffled channels, as densely tied as real ones."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import nn
from torch.nn import functional

Network = tuple[nn.Module, Any]


class Dense(nn.Module):
    """A DenseNet's block: every layer reads what all the layers before it wrote."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.second = nn.Conv2d(4, 8, 3, padding=1), nn.Conv2d(8, 8, 3, padding=1)
        self.third, self.norm = nn.Conv2d(16, 8, 3, padding=1), nn.BatchNorm2d(16)
        self.last = nn.Conv2d(24, 8, 1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.first(x)
        x = torch.cat([x, self.second(functional.relu(x))], dim=1)
        return self.last(torch.cat([x, self.third(functional.relu(self.norm(x)))], dim=1))


class JoinedWithItself(nn.Module):
    """The same channels twice in one join, then the join of a join."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.other, self.last = nn.Linear(8, 16), nn.Linear(8, 8), nn.Linear(40, 8)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y = torch.tanh(self.first(x))
        return self.last(torch.cat([torch.cat([y, -y], dim=-1), self.other(x)], dim=-1))


class JoinAdded(nn.Module):
    """A join added to a plain layer, which must keep the branches apart."""

    def __init__(self) -> None:
        super().__init__()
        self.left, self.right, self.whole = nn.Linear(8, 16), nn.Linear(8, 8), nn.Linear(8, 24)
        self.last = nn.Linear(24, 8)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.last(torch.relu(torch.cat([self.left(x), self.right(x)], dim=-1) + self.whole(x)))


class JoinGrouped(nn.Module):
    """A join that a grouped convolution reads beside a plain one: group by group, a branch each."""

    def __init__(self) -> None:
        super().__init__()
        self.left, self.right = nn.Conv2d(4, 8, 1), nn.Conv2d(4, 8, 1)
        self.grouped, self.plain = nn.Conv2d(16, 16, 3, padding=1, groups=2), nn.Conv2d(16, 16, 1)
        self.last = nn.Conv2d(16, 8, 1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = torch.cat([functional.relu(self.left(x)), self.right(x)], dim=1)
        return self.last(functional.relu(self.grouped(x) + self.plain(x)))


class Shuffled(nn.Module):
    """ShuffleNet: channels of two groups dealt out before the next grouped convolution."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.second = nn.Conv2d(8, 32, 1, groups=2), nn.Conv2d(32, 32, 1, groups=2)
        self.last = nn.Conv2d(32, 8, 1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.first(x).unflatten(1, (2, 16)).transpose(1, 2).flatten(1, 2)
        return self.last(functional.relu(self.second(x)))


class Bottleneck(nn.Module):
    """ResNeXt: a grouped convolution between plain ones, with a shortcut around all."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.down = nn.Conv2d(4, 32, 1), nn.Conv2d(32, 16, 1)
        self.grouped, self.up = nn.Conv2d(16, 32, 3, padding=1, groups=2), nn.Conv2d(32, 32, 1)
        self.last = nn.Conv2d(32, 8, 1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = functional.relu(self.first(x))
        return self.last(x + self.up(functional.relu(self.grouped(functional.relu(self.down(x))))))


class Siamese(nn.Module):
    """One encoder for two inputs, joined; and one layer between different pairs of others."""

    def __init__(self) -> None:
        super().__init__()
        self.encoder, self.join = nn.Linear(8, 16), nn.Linear(32, 16)
        self.other, self.shared, self.last = nn.Linear(8, 16), nn.Linear(16, 24), nn.Linear(24, 8)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        both = torch.cat([torch.relu(self.encoder(x)), torch.relu(self.encoder(2 * x))], dim=-1)
        one, two = self.shared(torch.relu(self.join(both))), self.shared(torch.tanh(self.other(x)))
        return self.last(torch.relu(one)) + self.last(torch.tanh(two))


class HeldBranch(nn.Module):
    """A fork one of whose branches goes through an operation that nobody follows."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.second, self.hidden = nn.Linear(8, 16), nn.Linear(16, 16), nn.Linear(16, 16)
        self.last = nn.Linear(16, 8)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = torch.relu(self.first(x))
        return self.last(torch.relu(self.hidden(torch.relu(self.second(x))))) + torch.cumsum(x, -1)[:, :8]


class ReturnedToo(nn.Module):
    """A tensor that is read by the next layer and returned as well."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.second, self.last = nn.Linear(8, 16), nn.Linear(16, 16), nn.Linear(16, 8)

    def forward(self, x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        x = self.first(x)
        return x, self.last(torch.relu(self.second(x)))


class UNet(nn.Module):
    """Down and up again, with a skip joined, slopes for every channel, and two kinds of norms."""

    def __init__(self) -> None:
        super().__init__()
        self.down, self.slopes = nn.Conv2d(4, 16, 3, padding=1), nn.PReLU(16)
        self.bottom, self.norm = nn.Conv2d(16, 32, 3, padding=1), nn.InstanceNorm2d(32, affine=True)
        self.up, self.last = nn.Conv2d(48, 16, 3, padding=1), nn.Conv2d(16, 8, 1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        skip = self.slopes(self.down(x))
        x = functional.relu(self.norm(self.bottom(functional.avg_pool2d(skip, 2))))
        x = torch.cat([functional.interpolate(x, scale_factor=2), skip], dim=1)
        return self.last(functional.relu(self.up(x)))


class Tied(nn.Module):
    """An autoencoder that decodes with the encoder's weight transposed."""

    def __init__(self) -> None:
        super().__init__()
        self.encode, self.offset = nn.Linear(8, 16), nn.Parameter(torch.zeros(8))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return torch.relu(self.encode(x)) @ self.encode.weight + self.offset


class Heads(nn.Module):
    """Constants that differ from head to head leave the order within a head free."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.last = nn.Linear(8, 32), nn.Linear(32, 8)
        self.register_buffer("scales", torch.tensor([[1.0], [2.0]]), persistent=False)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.last((self.first(x).unflatten(-1, (2, 16)) * self.scales * torch.ones(2, 1)).flatten(-2))


class Positioned(nn.Module):
    """A table of positions by channels, added: the positions stay, the channels move with the rest."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.last, self.table = (
            nn.Linear(8, 16),
            nn.Linear(16, 8),
            nn.Parameter(torch.randn(5, 16)),
        )
        self.norm = nn.LayerNorm(16)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.last(self.norm(self.first(x) + self.table))


class Multihead(nn.Module):
    """Torch's own attention, whose weight holds queries, keys and values one after another."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.last = nn.Linear(8, 16), nn.Linear(16, 8)
        self.attention = nn.MultiheadAttention(16, 2, batch_first=True)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.first(x)
        return self.last(x + self.attention(x, x, x, need_weights=False)[0])


class Broadcast(nn.Module):
    """One channel that gates all of another layer's, through a bias that is a parameter of its own."""

    def __init__(self) -> None:
        super().__init__()
        self.one, self.wide, self.last = nn.Linear(8, 1), nn.Linear(8, 16, bias=False), nn.Linear(16, 8)
        self.offset = nn.Parameter(torch.randn(1, 16))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.last(torch.sigmoid(self.one(x)) * torch.relu(self.wide(x) + self.offset))


class Recurrent(nn.Module):
    """A recurrent layer and a transposed convolution, which nobody follows, beside a hidden layer."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.recurrent = nn.Linear(8, 16), nn.GRU(16, 16, batch_first=True)
        self.up, self.hidden, self.last = nn.ConvTranspose1d(16, 16, 2), nn.Linear(16, 16), nn.Linear(16, 8)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x, _ = self.recurrent(torch.relu(self.first(x)))
        x = self.up(x.transpose(1, 2)).transpose(1, 2)
        return self.last(torch.relu(self.hidden(x)))


NETWORKS: dict[str, Callable[[], Network]] = {
    "dense": lambda: (Dense(), torch.randn(2, 4, 5, 5)),
    "joined-with-itself": lambda: (JoinedWithItself(), torch.randn(5, 8)),
    "join-added": lambda: (JoinAdded(), torch.randn(5, 8)),
    "join-grouped": lambda: (JoinGrouped(), torch.randn(2, 4, 5, 5)),
    "shuffled": lambda: (Shuffled(), torch.randn(2, 8, 5, 5)),
    "bottleneck": lambda: (Bottleneck(), torch.randn(2, 4, 5, 5)),
    "siamese": lambda: (Siamese(), torch.randn(5, 8)),
    "held-branch": lambda: (HeldBranch(), torch.randn(5, 8)),
    "returned-too": lambda: (ReturnedToo(), torch.randn(5, 8)),
    "unet": lambda: (UNet(), torch.randn(2, 4, 6, 6)),
    "tied": lambda: (Tied(), torch.randn(5, 8)),
    "heads": lambda: (Heads(), torch.randn(5, 8)),
    "multihead": lambda: (Multihead(), torch.randn(2, 5, 8)),
    "broadcast": lambda: (Broadcast(), torch.randn(5, 8)),
    "recurrent": lambda: (Recurrent(), torch.randn(2, 5, 8)),
    "positioned": lambda: (Positioned(), torch.randn(2, 5, 8)),
}
