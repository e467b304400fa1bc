"""Patterns in words: the grammar of their texts, and guesses at what another text was meant to say."""

from __future__ import annotations

import difflib
import re
import unicodedata
from typing import Any

_WORDS = ("pair", "at_most", "pad", "dense")
_GRAMMAR = re.compile(
    r"((?P<vector>\d{1,4}):)?(?P<n>\d{1,3}):(?P<m>\d{1,3})"
    r"(?P<transposable>-T| x (?P<column_n>\d{1,3}):(?P<column_m>\d{1,3}))?(?P<words>( \S+)*)"
)
LIKE = (
    "pattern must look like '2:4', '4:8-T', '2:4 x 4:8' or '64:2:8' (kept:group, -T for transposable, rows x "
    "columns, V:kept:group), optionally followed by 'pair', 'at_most', 'pad' or 'dense', 'axis=K'"
)
_SEPARATED = r"\s*(?:[:;/.,x-]|of|\s)\s*"
_NEARLY = re.compile(
    rf"(?:(?P<vector>\d{{1,4}})\s*:\s*(?=\d{{1,3}}\s*:))?(?P<n>\d{{1,3}}){_SEPARATED}(?P<m>\d{{1,3}})"
    rf"(?:\s*(?:x|\*|by|,)\s*(?P<column_n>\d{{1,3}}){_SEPARATED}(?P<column_m>\d{{1,3}}))?"
    r"[\s_-]*(?P<rest>.*)",
    re.DOTALL,
)
"""What a text that was meant as a pattern begins with; only used to guess what it was meant to say."""


def read(text: str) -> dict[str, Any] | None:
    """Read the arguments of a pattern off its text; None if the text does not follow the grammar."""
    match = _GRAMMAR.fullmatch(text)
    if match is None or not text.isascii():
        return None
    options: dict[str, Any] = {}
    for word in match["words"].split():
        if word == "pair" and "pair" not in options:
            options["pair"] = True
        elif word == "at_most" and "constraint" not in options:
            options["constraint"] = word
        elif word in ("pad", "dense") and "remainder" not in options:
            options["remainder"] = word
        elif re.fullmatch(r"axis=-?\d{1,2}", word) and "axis" not in options:
            options["axis"] = int(word.removeprefix("axis="))
        else:
            return None
    if match["column_n"] is not None:
        options["columns"] = int(match["column_n"]), int(match["column_m"])
    if match["vector"] is not None:
        options["vector"] = int(match["vector"])
    return {
        "n": int(match["n"]),
        "m": int(match["m"]),
        "transposable": match["transposable"] is not None,
        **options,
    }


_MEANT = {
    **{word: word for word in _WORDS},
    **dict.fromkeys(("t", "transpose", "transposable", "bidirectional"), "-T"),
    **dict.fromkeys(("exact", "semi", "structured", "sparse", "sparsity", "rows"), ""),
    "columns": "axis=-2",
}
"""What words beside the numbers were meant to say, misspelt ones too; "" where a pattern says it anyhow."""


def guess(text: str) -> str:
    """Guess which pattern a text was meant to be; what follows no grammar if nothing is near."""
    text = unicodedata.normalize("NFKC", text).lower().replace("\N{MULTIPLICATION SIGN}", "x")
    text = text.strip(" \t\n.,:;'`\"\N{LEFT SINGLE QUOTATION MARK}\N{RIGHT SINGLE QUOTATION MARK}")
    text = re.sub(r"^([a-z_ -]*[a-z])\s*(\d.*)", r"\2 \1", text)  # "transposable 2:4": words come last
    text = re.sub(r"^(\d)(\d{1,2})(?=\D*$)", _apart, text)
    match = _NEARLY.fullmatch(text) if text.isascii() else None
    if match is None:
        return ""
    meant = _ordered(match["n"], match["m"])
    if match["vector"] is not None:
        meant = f"{int(match['vector'])}:{meant}"
    if match["column_n"] is not None:
        meant += f" x {_ordered(match['column_n'], match['column_m'])}"
    words = _words(match["rest"])
    if "-T" in words:
        words.remove("-T")
        meant += "-T" if match["column_n"] is None else ""  # which two budgets say already
    if match["column_n"] is not None and "at_most" not in words and not _same_share(match):
        words.append("at_most")  # under which alone two shares go together
    return " ".join([meant, *words])


def _words(rest: str) -> list[str]:
    """Translate the words behind the numbers, each once; unknown ones to ``?``, which no pattern has."""
    axis = re.search(r"\b(?:axis|dim)\s*=?\s*(-?\d{1,2})\b", rest)
    if axis is not None:
        rest = rest.replace(axis[0], " ")
    found = []
    for word in re.findall(r"[^\s,;.^()-]+", re.sub(r"\bat[\s_-]most\b", "at_most", rest)):
        near = difflib.get_close_matches(word, _MEANT, 1)
        found.append(_MEANT[near[0]] if near else "?")
    if axis is not None:
        found.append(f"axis={axis[1]}")
    return list(dict.fromkeys(filter(None, found)))


def _apart(match: re.Match[str]) -> str:
    """Two numbers written as one, as in "24" and "816", if the second is a multiple of the first."""
    n, m = int(match[1]), int(match[2])
    return f"{n}:{m}" if n and m % n == 0 else match[0]


def _same_share(match: re.Match[str]) -> bool:
    """Whether rows and columns keep the same share, whichever number of each is written first."""
    (n, m), (column_n, column_m) = (
        sorted((int(match[one]), int(match[other]))) for one, other in (("n", "m"), ("column_n", "column_m"))
    )
    return n * column_m == m * column_n


def _ordered(one: str, other: str) -> str:
    """Smaller number first."""
    least, most = sorted((int(one), int(other)))
    return f"{least}:{most}"


def describe_wrong_type(value: object) -> str:
    """Say that a value is no pattern, and what was meant by it if that can be guessed."""
    fault = f"pattern must be a Pattern or a string such as '2:4' or '4:8-T', got {type(value).__name__}"
    if isinstance(value, tuple | list) and len(value) in (2, 3):
        n, m = (str(part) for part in value[:2])
        if n.isdecimal() and m.isdecimal():
            both_ways = len(value) == 3 and value[2] in (True, "T", "t", "-T")
            return f"{fault} {value!r}; did you mean '{n}:{m}{'-T' if both_ways else ''}'?"
    if hasattr(value, "shape") or hasattr(value, "state_dict"):  # an array, or a module of torch
        return f"{fault}; the {'array' if hasattr(value, 'shape') else 'model'} comes first, then the pattern"
    return fault
