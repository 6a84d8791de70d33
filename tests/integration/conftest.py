"""Fixtures of the tests that run real processes."""

import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.launcher_driver import Client, launcher_binary
from tests.sandbox import Sandbox


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
