"""Recognise what we once wrote into a settings file whose record is lost."""

import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from better_claude.claude.settings.file import environment_of
from better_claude.claude.settings.installation import Change
from better_claude.claude.settings.jsontext import value_text
from better_claude.claude.settings.overlay import (
    EARLIER_PREFIX,
    PREFIX,
    STATE,
    ContextTerms,
    Terms,
    is_launcher,
    overlay,
)
from better_claude.claude.settings.telemetry import Receiver

_OURS = re.compile(r"http://127\.0\.0\.1:(\d{1,5})")
_TOKEN = re.compile(r"authorization=Bearer (\S+)")


def find_traces(
    text: str, settings: Mapping[str, Any], launcher: Path, context: ContextTerms
) -> tuple[Change, ...]:
    """Return our changes as far as they can be recognised; none where our prefix is not in force.

    What was there before is known of the prefix only: the earlier one stands beside ours.
    """
    env = environment_of(dict(settings))
    prefix = env.get(PREFIX, "")
    at_state = env.get(STATE, "") and str(Path(env[STATE]) / "bin/launcher")
    if not prefix or not (prefix in (str(launcher), at_state) or is_launcher(prefix)):
        return ()
    terms = Terms(Path(prefix), context, _receiver(env))
    members = dict(overlay({}, terms, {}).members)
    for name in (EARLIER_PREFIX, STATE):
        if name in env:
            members["env", name] = env[name]
    changes = []
    for path, value in members.items():
        written = value_text(text, path)
        if written is None or json.loads(written) != value:
            continue
        before = value_text(text, ("env", EARLIER_PREFIX)) if path == ("env", PREFIX) else None
        changes.append(Change(tuple(path), before, written))
    return tuple(changes)


def _receiver(env: Mapping[str, str]) -> Receiver | None:
    port = _OURS.fullmatch(env.get("OTEL_EXPORTER_OTLP_ENDPOINT", ""))
    token = _TOKEN.fullmatch(env.get("OTEL_EXPORTER_OTLP_HEADERS", ""))
    return Receiver(int(port[1]), token[1]) if port and token else None
