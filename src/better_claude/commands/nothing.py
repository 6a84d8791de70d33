"""What to say when there is nothing to show: why, and what to do next."""

from better_claude.commands.selection import Reading
from better_claude.model import Source


def explain_nothing(what: Reading) -> None:
    """Say on standard error why a table is empty and which command helps."""
    what.say(*_lines(what))


def _lines(what: Reading) -> list[str]:
    if what.sample and not what.paths.store.exists():
        return ["There is no sample session yet.", "next: better-claude welcome"]
    if not what.paths.store.exists():
        return [
            f"Nothing has been measured yet (there is no store in {what.paths.state}).",
            "next: better-claude run -- claude    measures one session, installs nothing",
        ]
    if _is_filtered(what):
        return [f"No record matches these filters ({what.window}).", f"next: {_wider(what)}"]
    if what.records.source is Source.TRANSCRIPT:
        return [
            f"No history ({what.window}).",
            "next: better-claude import    reads the client's transcripts",
        ]
    return [
        f"Nothing was measured ({what.window}).",
        "next: better-claude run -- claude    measures one session, installs nothing",
        "      --since all                    looks further back",
        "      --source transcript            shows imported history",
    ]


def _is_filtered(what: Reading) -> bool:
    records = what.records
    return bool(records.hook or records.event or records.session or records.outcome)


def _wider(what: Reading) -> str:
    if what.records.since_ns:
        return "add --since all, or leave a filter out"
    return "leave a filter out; better-claude hooks --since all lists every hook"
