"""Compiled modules; everything else is in pyproject.toml."""

import os
import shlex
from pathlib import Path

from setuptools import Extension, setup

ROOT = Path(__file__).parent
HEADERS = sorted(
    str(path.relative_to(ROOT)) for end in ("hpp", "pxd") for path in (ROOT / "src_cython").rglob(f"*.{end}")
)
FLAGS = ["-O3", "-std=c++17", "-g0", "-ffp-contract=off", "-Wno-psabi"]
# After ours, so that a sanitizer's or a profiler's flags win.
FLAGS += shlex.split(os.environ.get("MASKSOLVE_CXXFLAGS", ""))


def extension(name: str, *sources: str, flags: tuple[str, ...] = ()) -> Extension:
    """``masksolve._ext.<name>`` from ``src_cython/<name>.pyx`` and further C++ sources."""
    return Extension(
        f"masksolve._ext.{name}",
        sources=[f"src_cython/{name}.pyx", *(f"src_cython/{source}" for source in sources)],
        depends=HEADERS,
        include_dirs=["src_cython/include"],
        language="c++",
        extra_compile_args=[*FLAGS, *flags],
    )


setup(
    ext_modules=[
        extension("scan", "scan_run.cpp"),
        extension("greedy"),
        extension("tile_values"),
        extension("counting", "power_sum.cpp", flags=("-ffp-contract=fast",)),  # integers: nothing is rounded
        extension(
            "exact",
            "dispatch.cpp",
            "scan_run.cpp",
            "engine_baseline.cpp",
            "engine_avx2.cpp",
            "engine_avx512.cpp",
        ),
    ]
)
