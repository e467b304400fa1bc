"""Small networks with every way in which channels can hang together; joins are in joins.py."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import nn
from torch.nn import functional

Network = tuple[nn.Module, Any]


class Residual(nn.Module):
    """A ResNet's block, with a shortcut by convolution where the width changes."""

    def __init__(self, inputs: int, outputs: int, stride: int = 1) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(inputs, outputs, 3, stride, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(outputs)
        self.conv2 = nn.Conv2d(outputs, outputs, 3, 1, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(outputs)
        self.short = nn.Sequential()
        if inputs != outputs:
            self.short = nn.Sequential(
                nn.Conv2d(inputs, outputs, 1, stride, bias=False), nn.BatchNorm2d(outputs)
            )

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y = functional.relu(self.bn1(self.conv1(x)), inplace=True)
        y = self.bn2(self.conv2(y))
        y += self.short(x)
        return functional.relu(y)


def resnet() -> Network:
    return nn.Sequential(
        nn.Conv2d(3, 16, 3, padding=1, bias=False), nn.BatchNorm2d(16), nn.ReLU(), nn.MaxPool2d(2),
        Residual(16, 16), Residual(16, 32, 2), Residual(32, 32),
        nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(32, 10),
    ), torch.randn(2, 3, 16, 16)  # fmt: skip


class Inverted(nn.Module):
    """MobileNetV2's block: widen, depthwise, narrow."""

    def __init__(self, width: int, hidden: int) -> None:
        super().__init__()
        self.body = nn.Sequential(
            nn.Conv2d(width, hidden, 1, bias=False), nn.BatchNorm2d(hidden), nn.ReLU6(),
            nn.Conv2d(hidden, hidden, 3, padding=1, groups=hidden, bias=False), nn.BatchNorm2d(hidden),
            nn.Hardswish(), nn.Conv2d(hidden, width, 1, bias=False), nn.BatchNorm2d(width),
        )  # fmt: skip

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x + self.body(x)


class Squeeze(nn.Module):
    """Squeeze and excitation."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.down, self.up = nn.Conv2d(width, 8, 1), nn.Conv2d(8, width, 1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        gate = self.up(functional.silu(self.down(functional.adaptive_avg_pool2d(x, 1))))
        return x * torch.sigmoid(gate)


def mobilenet() -> Network:
    return nn.Sequential(
        nn.Conv2d(3, 16, 3, padding=1), nn.BatchNorm2d(16), nn.ReLU6(), Inverted(16, 32), Squeeze(16),
        Inverted(16, 32), nn.Conv2d(16, 32, 1), nn.AdaptiveAvgPool2d(2), nn.Flatten(), nn.Linear(128, 8),
    ), torch.randn(2, 3, 8, 8)  # fmt: skip


class Forked(nn.Module):
    """A fork whose branches are joined by concatenation and read by one layer."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.left, self.right = nn.Linear(8, 16), nn.Linear(16, 16), nn.Linear(16, 8)
        self.last = nn.Linear(24, 8)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = torch.tanh(self.first(x))
        return self.last(torch.cat([torch.relu(self.left(x)), torch.sigmoid(self.right(x))], dim=-1))


class Gated(nn.Module):
    """One layer's output cut in two, one half gating the other, which unites channel i with i + 16."""

    def __init__(self) -> None:
        super().__init__()
        self.up, self.down = nn.Linear(8, 32), nn.Linear(16, 8)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        value, gate = self.up(x).chunk(2, dim=-1)
        return self.down(value * functional.silu(gate))


class TreatedDifferently(nn.Module):
    """Two halves under different functions, side by side again: their channels must not mix."""

    def __init__(self) -> None:
        super().__init__()
        self.up, self.down = nn.Linear(8, 32), nn.Linear(32, 8)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        one, other = self.up(x).split([16, 16], dim=-1)
        return self.down(torch.cat([torch.relu(one), torch.tanh(other)], dim=-1))


class UsedTwice(nn.Module):
    """One layer applied again and again: what goes in and what comes out are the same channels."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.again, self.last = nn.Linear(8, 16), nn.Linear(16, 16), nn.Linear(16, 8)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.first(x)
        for _ in range(3):
            x = torch.relu(self.again(x))
        return self.last(x)


class Sibling(nn.Module):
    """Siblings added up, one of which is scaled by constants that tell its channels apart."""

    def __init__(self) -> None:
        super().__init__()
        self.one, self.other, self.last = nn.Linear(8, 16), nn.Linear(8, 16), nn.Linear(16, 8)
        self.hidden = nn.Linear(8, 16)
        self.register_buffer("constant", torch.arange(16.0), persistent=False)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y = self.one(x) + self.other(x) * self.constant
        return self.last(y) + self.last(torch.relu(self.hidden(x)))


class Grouped(nn.Module):
    """A grouped convolution beside a plain one, and group normalisation."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Conv2d(4, 16, 1)
        self.grouped, self.plain = nn.Conv2d(16, 32, 3, padding=1, groups=2), nn.Conv2d(16, 32, 1)
        self.norm, self.last = nn.GroupNorm(4, 32), nn.Conv2d(32, 8, 1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = functional.relu(self.first(x))
        return self.last(functional.relu(self.norm(self.grouped(x) + self.plain(x))))


class Multiplied(nn.Module):
    """A depthwise convolution with two outputs for each input, then a flattened image."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Conv2d(4, 8, 1)
        self.depthwise = nn.Conv2d(8, 16, 3, padding=1, groups=8)
        self.last = nn.Linear(16 * 9, 8)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.last(self.depthwise(self.first(x)).flatten(1))


class Attending(nn.Module):
    """Attention written out with matrix products."""

    def __init__(self) -> None:
        super().__init__()
        self.qkv, self.out = nn.Linear(16, 48), nn.Linear(16, 16)
        self.norm = nn.LayerNorm(16)
        self.last = nn.Linear(16, 8)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        q, k, v = self.qkv(x).unflatten(-1, (3, 2, 8)).permute(2, 0, 3, 1, 4).unbind(0)
        weights = torch.softmax(q @ k.transpose(-1, -2) / 8**0.5, dim=-1)
        x = x + self.out((weights @ v).transpose(1, 2).flatten(-2))
        return self.last(self.norm(x))


class Sequence(nn.Module):
    """Convolutions over time, a dense join, and a reduction over channels."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.second = nn.Conv1d(4, 16, 3, padding=1), nn.Conv1d(16, 16, 3, padding=1, groups=16)
        self.third, self.last = nn.Conv1d(32, 16, 1), nn.Linear(16, 8)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = functional.gelu(self.first(x))
        x = torch.cat([x, self.second(x)], dim=1)
        x = self.third(x)
        x = x - x.mean(dim=1, keepdim=True)
        return self.last(x.transpose(1, 2).mean(dim=1))


class Sorted(nn.Module):
    """An operation that nobody follows must hold what goes through it."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.second, self.last = nn.Linear(8, 16), nn.Linear(8, 16), nn.Linear(16, 8)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        held = torch.cumsum(self.first(x), dim=-1)
        return self.last(held) + nn.functional.linear(torch.relu(self.second(x)), self.last.weight)


NETWORKS: dict[str, Callable[[], Network]] = {
    "resnet": resnet,
    "mobilenet": mobilenet,
    "forked": lambda: (Forked(), torch.randn(5, 8)),
    "gated": lambda: (Gated(), torch.randn(5, 8)),
    "treated-differently": lambda: (TreatedDifferently(), torch.randn(5, 8)),
    "used-twice": lambda: (UsedTwice(), torch.randn(5, 8)),
    "sibling": lambda: (Sibling(), torch.randn(5, 8)),
    "grouped": lambda: (Grouped(), torch.randn(2, 4, 5, 5)),
    "multiplied": lambda: (Multiplied(), torch.randn(2, 4, 3, 3)),
    "attending": lambda: (Attending(), torch.randn(2, 5, 16)),
    "sequence": lambda: (Sequence(), torch.randn(2, 4, 9)),
    "sorted": lambda: (Sorted(), torch.randn(5, 8)),
}
