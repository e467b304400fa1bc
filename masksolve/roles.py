"""What a tensor is for, told from its name: the parts of a model that are not pruned by default.

The matrices that sparse hardware multiplies with are the projections of attention and of the
feed-forward parts. An embedding is a table that is looked up, a head decides between tens of thousands
of words, a router between a few experts: pruning them saves little and costs much.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

_ROLES = {
    "embedding": r"[^.]*(embed|embd)(?!_out)[^.]*|wte|wpe|shared|relative_attention_bias|rotary_emb",
    "head": r"lm_head|head|heads|embed_out|classifier|score|predictions|qa_outputs|output_projection",
    "norm": r"[^.]*norm[^.]*|ln|ln_\d|ln_f|layer_?norm[^.]*",
    "router": r"router|gate|wg|shared_expert_gate|[^.]*router[^.]*",
    "scale of quantised weights": r"[^.]*scales?(_inv)?|q?zeros|g_idx",
    "state-space parameter": r"A_log",
    "low-rank adapter": r"lora_[^.]*",
}
# A part of a dotted name, also inside a glob: "*lm_head*" names the head.
_PARTS = {role: re.compile(rf"(?:^|[.*?\[\]])(?:{parts})(?:$|[.*?\[\]])") for role, parts in _ROLES.items()}
_FIRST_OUTPUT = re.compile(r"(model\.)?output\.weight")
_EXPERTS = re.compile(r"experts?(\.|$)")

_INPUT_FIRST = {
    "gpt2": re.compile(r"\.(c_attn|c_proj|c_fc|q_attn)\.weight$"),
    "gpt_oss": re.compile(r"\.experts\.(gate_up_proj|down_proj)$"),
    "llama4": re.compile(r"\.experts\.(gate_up_proj|down_proj)$"),
    "llama4_text": re.compile(r"\.experts\.(gate_up_proj|down_proj)$"),
}


def role_of(name: str) -> str | None:
    """Which part of a model a tensor is that is not pruned by default; None for every other one.

    Examples
    --------
    >>> [role_of(name) for name in ("embed_tokens.weight", "lm_head.weight", "layers.0.mlp.gate.weight")]
    ['embedding', 'head', 'router']
    >>> role_of("model.layers.0.mlp.gate_proj.weight") is None
    True
    """
    if _FIRST_OUTPUT.fullmatch(name):
        return "head"
    return next((role for role, part in _PARTS.items() if part.search(name)), None)


def is_expert_stack(name: str) -> bool:
    """Whether a tensor with three axes is a stack of experts, each a matrix."""
    return _EXPERTS.search(name) is not None


def inputs_come_first(name: str, config: Mapping[str, Any]) -> bool:
    """Whether a model, told by its ``config.json``, stores a matrix as (inputs, outputs).

    Hardware wants groups along the inputs. Nearly every model stores (outputs, inputs).
    """
    stored = _INPUT_FIRST.get(str(config.get("model_type")))
    return stored is not None and stored.search(name) is not None
