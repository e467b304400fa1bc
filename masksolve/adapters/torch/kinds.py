"""What masksolve knows of each kind of module: which of its parameters are matrices, and in which plane."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

from torch import nn
from torch.nn.parameter import is_lazy

from ...roles import role_of
from ..plane import Plane

_CONVOLUTIONS = (nn.Conv1d, nn.Conv2d, nn.Conv3d)
_TRANSPOSED = (nn.ConvTranspose1d, nn.ConvTranspose2d, nn.ConvTranspose3d)
_FIRST = ("gate", "up", "w1", "w3", "fc1", "wi")
_LAST = ("down", "w2", "fc2", "wo")


class Kind(NamedTuple):
    """How a module uses one of its parameters.

    Attributes
    ----------
    plane : Plane or None
        None if no plane of it is known to be a matrix that is multiplied by.
    reason : str
        Why it stays dense unless it is asked for by name; empty if it does not. Without a plane, why it
        cannot be masked at all.
    """

    plane: Plane | None
    reason: str = ""


def is_linear(module: nn.Module) -> bool:
    """Whether a module multiplies the last axis of its input by its weight, and does nothing else."""
    return isinstance(module, nn.Linear) or "transformers.pytorch_utils.Conv1D" in _classes(module)


def kind_of(module: nn.Module, name: str, path: str) -> Kind:
    """Say how a module uses one of its parameters of two axes or more.

    Parameters
    ----------
    module : Module
    name : str
        The module's name for the parameter.
    path : str
        The model's name for the module.
    """
    kind, plane, reason = type(module).__name__, None, ""
    if "bias" in name:
        reason = "is a bias"
    elif isinstance(module, (nn.Embedding, nn.EmbeddingBag)):
        plane, reason = Plane(), "is an embedding, which is looked up and not multiplied"
    elif isinstance(module, nn.RNNBase):
        reason = f"belongs to a {kind}, whose kernels read a packed copy that no mask reaches"
    elif isinstance(module, nn.MultiheadAttention) and name.endswith("proj_weight"):
        plane = Plane(parts=3) if name == "in_proj_weight" else Plane()
    elif _is_stack(module, name, path):
        plane = _expert_plane(module, name)
    elif name == "weight":
        plane = _layer_plane(module)
    if plane is None and not reason:
        reason = f"belongs to a {kind}, of which masksolve does not know how it multiplies; see planes="
    return Kind(plane, reason)


def _layer_plane(module: nn.Module) -> Plane | None:
    if isinstance(module, nn.Linear):
        return Plane()
    if isinstance(module, _CONVOLUTIONS):
        return Plane(parts=module.groups)
    if isinstance(module, _TRANSPOSED):  # (inputs, outputs of a group, *kernel)
        return Plane(rows=1, columns=0, parts=module.groups)
    if "transformers.pytorch_utils.Conv1D" in _classes(module):
        return Plane(rows=1, columns=0)  # GPT-2 keeps (inputs, outputs)
    return None


def _classes(module: nn.Module) -> set[str]:
    """Full names of a module's class and its bases, which tell it without importing where it is from."""
    return {f"{each.__module__}.{each.__name__}" for each in type(module).__mro__}


def _is_stack(module: nn.Module, name: str, path: str) -> bool:
    """Whether a parameter holds one matrix for each expert of a mixture."""
    parameter = getattr(module, name)
    if parameter.ndim != 3:
        return False
    if isinstance(module, (*_CONVOLUTIONS, *_TRANSPOSED)):
        return False
    called = any("expert" in each.lower() for each in (type(module).__name__, name, *path.split(".")))
    return called or len(parameter) in (getattr(module, "num_experts", 0), getattr(module, "n_experts", 0))


def _expert_plane(module: nn.Module, name: str) -> Plane:
    """Find which axis of an expert's matrix is its outputs; the first, unless something tells otherwise.

    Transformers marks classes that keep (inputs, outputs) by ``is_transposed``. Where that is missing, the
    width of the model decides, which is what goes into the first layer and comes out of the last.
    """
    plain, transposed = Plane(rows=-2, columns=-1), Plane(rows=-1, columns=-2)
    flag = getattr(module, "is_transposed", None)
    if isinstance(flag, bool):
        return transposed if flag else plain
    width = getattr(module, "hidden_size", getattr(module, "hidden_dim", None))
    first, second = getattr(module, name).shape[1:]
    if width not in (first, second) or first == second:
        return plain
    begins = any(part in name.lower() for part in _FIRST)
    ends = any(part in name.lower() for part in _LAST)
    if begins == ends:
        return plain
    inputs_first = (first == width) == begins
    return transposed if inputs_first else plain


def matrices_of(model: nn.Module) -> Iterator[tuple[str, nn.Module, str]]:
    """Walk all parameters of two axes or more: path of the module, module, name of the parameter.

    A parameter under a parametrization is listed where its layer uses it, not where torch keeps it.
    """
    inside = tuple(
        f"{path}.parametrizations".lstrip(".")
        for path, module in model.named_modules()
        if hasattr(module, "parametrizations")
    )
    for path, module in model.named_modules():
        if path.startswith(inside) and inside:
            continue
        names = [name for name, each in module._parameters.items() if _is_matrix(each)]
        hidden = [name for name in getattr(module, "parametrizations", {}) if getattr(module, name).ndim > 1]
        for name in sorted(hidden + names, key=lambda name: name != "weight"):
            yield path, module, name


def _is_matrix(parameter: nn.Parameter | None) -> bool:
    return parameter is not None and (is_lazy(parameter) or parameter.ndim > 1)


def adapters_of(model: nn.Module) -> tuple[str, ...]:
    """Paths of the adapters, such as LoRA's, that PEFT has put beside layers."""
    found = []
    for path, module in model.named_modules():
        if is_tuner(module):
            names = getattr(module, "adapter_layer_names", ())
            found += [f"{path}.{name}".lstrip(".") for name in names]
    return tuple(found)


def routers_of(model: nn.Module) -> tuple[str, ...]:
    """Paths of the layers that choose between a mixture's experts, by their names.

    Transformers makes most of them classes of their own, but some are plain Linear layers. What is
    called no more than a gate is a router only beside experts: elsewhere it is a matrix like others.
    """
    modules = dict(model.named_modules())
    return tuple(
        path
        for path, module in modules.items()
        if isinstance(module, nn.Linear)
        and role_of(path) == "router"
        and ("router" in path.lower() or _has_experts(modules, path))
    )


def _has_experts(modules: dict[str, nn.Module], path: str) -> bool:
    """Whether experts are kept beside a module, or beside the one that it is a part of."""
    above = [path.rpartition(".")[0], path.rpartition(".")[0].rpartition(".")[0]]
    return any("expert" in name for each in above for name, _ in modules[each].named_children())


def is_tuner(module: nn.Module) -> bool:
    """Whether a module is PEFT's layer around another, to which it adds adapters."""
    return "peft.tuners.tuners_utils.BaseTunerLayer" in _classes(module)
