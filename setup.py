"""Compiled modules; everything else is in pyproject.toml."""

import os
import shlex
import sysconfig
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from threading import Lock

from setuptools import Extension, setup
from setuptools.command.build_ext import build_ext

ROOT = Path(__file__).parent
HEADERS = sorted(
    str(path.relative_to(ROOT)) for end in ("hpp", "pxd") for path in (ROOT / "src_cython").rglob(f"*.{end}")
)
FLAGS = [
    "-O3",
    # Without these passes GCC compiles in seven eighths of the time, and the engine is no slower.
    # clang warns of those that it does not know, and goes on.
    "-fno-gcse",
    "-fno-ipa-cp",
    "-fno-tree-slp-vectorize",
    "--param=sccvn-max-alias-queries-per-access=100",
    "-std=c++17",
    "-g0",
    "-ffp-contract=off",
    "-Wno-psabi",
    "-Wno-uninitialized",
    "-Wno-maybe-uninitialized",
]
ENGINES = ("baseline", "avx2", "avx512")
# After ours, so that a sanitizer's or a profiler's flags win.
FLAGS += shlex.split(os.environ.get("MASKSOLVE_CXXFLAGS", ""))
# One wheel serves every Python from 3.11 on; a Python without its global lock has no such stable interface.
STABLE = not sysconfig.get_config_var("Py_GIL_DISABLED")
MACROS = [("Py_LIMITED_API", "0x030B0000"), ("CYTHON_LIMITED_API", "1")] if STABLE else []


class ParallelBuild(build_ext):
    """Compiles the sources of all modules on all processors; setuptools takes them one by one.

    The engine's sources take a quarter of a minute each, so that they decide how long a build takes.
    """

    def build_extensions(self):
        """Hand each source to one pool of as many compilers as there are processors, once for all modules."""
        compile_in_turn = self.compiler.compile
        compiling, one_at_a_time = {}, Lock()
        self.parallel = len(self.extensions)  # a thread for each module, which waits for its sources
        processors = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
        with ThreadPoolExecutor(processors) as pool:

            def compile_in_parallel(sources, **options):
                with one_at_a_time:
                    for source in sources:
                        if source not in compiling:
                            compiling[source] = pool.submit(compile_in_turn, [source], **options)
                return [name for source in sources for name in compiling[source].result()]

            self.compiler.compile = compile_in_parallel
            super().build_extensions()


def extension(name: str, *sources: str, flags: tuple[str, ...] = ()) -> Extension:
    """``masksolve._ext.<name>`` from ``src_cython/<name>.pyx`` and further C++ sources."""
    return Extension(
        f"masksolve._ext.{name}",
        sources=[*(f"src_cython/{source}" for source in sources), f"src_cython/{name}.pyx"],
        depends=HEADERS,
        include_dirs=["src_cython/include"],
        language="c++",
        extra_compile_args=[*FLAGS, *flags],
        define_macros=MACROS,
        py_limited_api=STABLE,
    )


setup(
    cmdclass={"build_ext": ParallelBuild},
    options={"bdist_wheel": {"py_limited_api": "cp311"}} if STABLE else {},
    ext_modules=[
        extension(
            "tiles",
            *(f"engines/{name}_{type}.cpp" for name in ENGINES for type in ("single", "double")),
            "general_tiles.cpp",
            "dispatch.cpp",
            "scan_run.cpp",
        ),
        extension("arrays", "scan_run.cpp", "sum_runs.cpp"),
        extension("columns"),
        extension("counting", "power_sum.cpp", flags=("-ffp-contract=fast",)),  # integers: nothing is rounded
    ],
)
