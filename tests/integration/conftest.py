"""Fixtures of the tests that run real processes."""

import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.launcher_driver import Client, launcher_binary
from tests.sandbox import Sandbox

from better_claude.service.start import stop_service


@pytest.fixture
def client(sandbox: Sandbox) -> Client:
    """Return a client whose state folder holds the launcher and a quiet policy."""
    return Client(sandbox.state, sandbox.project, launcher_binary()).install()


@pytest.fixture(scope="module")
def module_client() -> Iterator[Client]:
    """Yield a client that a whole module shares."""
    root = Path(tempfile.mkdtemp(dir=Path(tempfile.gettempdir()).parent))
    yield Client(root / "state", root / "project", launcher_binary()).install()
    shutil.rmtree(root, ignore_errors=True)


@pytest.fixture
def commands_home(sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Call commands in this process as if it lived in the sandbox; stop its service at the end."""
    for name in list(os.environ):
        monkeypatch.delenv(name)
    for name, value in sandbox.environ().items():
        monkeypatch.setenv(name, value)
    monkeypatch.chdir(sandbox.project)
    yield
    stop_service(sandbox.paths)
