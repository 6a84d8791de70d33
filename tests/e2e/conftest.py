"""The program and the real client, for each test anew."""

from collections.abc import Iterator

import pytest
from tests.e2e.ours import Ours, opened
from tests.sandbox import Sandbox


@pytest.fixture
def ours(sandbox: Sandbox) -> Iterator[Ours]:
    """Yield the program in the test's sandbox; its service ends with the test."""
    with opened(sandbox) as program:
        yield program
