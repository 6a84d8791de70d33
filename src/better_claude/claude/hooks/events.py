"""The client's hook events, and how their matchers are read."""

import difflib
import re

# Seen in 2.1.330; a new one may appear with any release.
EVENTS = (
    "PreToolUse",
    "PostToolUse",
    "PostToolUseFailure",
    "PostToolBatch",
    "Notification",
    "UserPromptSubmit",
    "UserPromptExpansion",
    "SessionStart",
    "SessionEnd",
    "Stop",
    "StopFailure",
    "SubagentStart",
    "SubagentStop",
    "PreCompact",
    "PostCompact",
    "PreModelSwitch",
    "PostModelSwitch",
    "PermissionRequest",
    "PermissionDenied",
    "Setup",
    "TeammateIdle",
    "TaskCreated",
    "TaskCompleted",
    "Elicitation",
    "ElicitationResult",
    "ConfigChange",
    "WorktreeCreate",
    "WorktreeRemove",
    "InstructionsLoaded",
    "CwdChanged",
    "FileChanged",
    "DirectoryAdded",
    "MessageDisplay",
)
# Seen: for these events a list may also have commas, blanks and minus signs; for all others only
# letters, digits and | make a list of names, and anything else is a pattern.
_LISTED = frozenset(EVENTS) - {
    "PostToolBatch",
    "UserPromptSubmit",
    "Stop",
    "StopFailure",
    "TeammateIdle",
    "TaskCreated",
    "TaskCompleted",
    "WorktreeCreate",
    "WorktreeRemove",
    "CwdChanged",
    "FileChanged",
    "MessageDisplay",
}
# Seen: the client compares the matcher of these with nothing at all.
UNMATCHED = frozenset(
    {
        "PostToolBatch",
        "UserPromptSubmit",
        "Stop",
        "TeammateIdle",
        "TaskCreated",
        "TaskCompleted",
        "WorktreeCreate",
        "WorktreeRemove",
        "CwdChanged",
        "MessageDisplay",
    }
)


def nearest_event(name: str) -> str:
    """Return the known event that ``name`` was probably meant to be, empty if none is near."""
    by_lower = {event.lower(): event for event in EVENTS}
    close = difflib.get_close_matches(name.lower().replace("_", ""), by_lower, n=1, cutoff=0.7)
    return by_lower[close[0]] if close else ""


def is_pattern(event: str, matcher: str) -> bool:
    """Tell whether the client reads a matcher as a regular expression, not as a list of names."""
    if matcher in ("", "*"):
        return False
    names = r"[a-zA-Z0-9_|, -]+" if event in _LISTED else r"[a-zA-Z0-9_|]+"
    return re.fullmatch(names, matcher) is None
