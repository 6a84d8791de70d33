"""`run --mode` speaks for its own session, over the policy."""

import pytest
from tests.launcher_driver import Client, event

SLOW = "sleep 0.5; echo done"


@pytest.mark.parametrize(
    ("policy", "session", "outcome", "enforcement"),
    [
        ("enforce", "", "timeout", "enforce"),
        ("enforce", "observe", "ok", "observe"),
        ("observe", "enforce", "timeout", "enforce"),
        ("observe", "nonsense", "ok", "observe"),
    ],
)
def test_the_mode_of_a_session_wins(
    client: Client, policy: str, session: str, outcome: str, enforcement: str
) -> None:
    client.write_policy(f"event - * timeout_ms=100 memory_bytes=52428800 mode={policy}")
    client.hook(SLOW, event(), BETTER_CLAUDE_MODE=session)
    run = client.last()
    assert (run.outcome, run.enforcement, run.breach) == (outcome, enforcement, "time")
