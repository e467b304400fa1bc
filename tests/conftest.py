"""Fixtures that several modules use."""

import os
import signal
from collections.abc import Generator, Iterator

import pytest
from _pytest.doctest import DoctestModule


def pytest_configure() -> None:
    """Make tests independent of what starts them, and of how much else the machine has to do."""
    _take_signals()
    _allow_time()
    for variable in ("FORCE_COLOR", "CLICOLOR_FORCE", "TTY_COMPATIBLE", "TTY_INTERACTIVE", "PYTHON_COLORS"):
        os.environ.pop(variable, None)  # builders of others set them; output is compared as text


def _allow_time() -> None:
    """Let Hypothesis judge what a test finds and not how long it takes, which a loaded machine decides."""
    try:
        from hypothesis import HealthCheck, settings
    except ModuleNotFoundError:  # where only tests that do without it run
        return
    settings.register_profile("patient", deadline=None, suppress_health_check=[HealthCheck.too_slow])
    settings.load_profile("patient")


def _take_signals() -> None:
    """Take signals as a terminal would send them.

    What a shell starts in the background ignores Ctrl-C, and under nohup a closed terminal too; programs
    that it starts inherit that, and tests that send these signals would wait for nothing.
    """
    signal.signal(signal.SIGINT, signal.default_int_handler)
    if hasattr(signal, "SIGHUP"):
        signal.signal(signal.SIGHUP, signal.SIG_DFL)


@pytest.hookimpl(wrapper=True)
def pytest_collect_file() -> Generator[None, list[pytest.Collector], list[pytest.Collector]]:
    """Do not look for doctests in test modules.

    That would import them first, pass over a module that cannot be imported, as it should where the package's
    modules need a framework, and leave half a module behind in which no test is found.
    """
    found = yield
    return [each for each in found if not isinstance(each, DoctestModule)]


@pytest.fixture
def one_thread() -> Iterator[None]:
    """Let torch compute in one thread."""
    import torch

    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)
