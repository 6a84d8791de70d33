"""What to say when there is nothing to show: why, and what to do next."""

from better_claude.commands.selection import Reading
from better_claude.model import Source
from better_claude.show.status import RUN_ONE_SESSION

Advice = tuple[str, str]


def explain_nothing(what: Reading) -> None:
    """Say on standard error why a table is empty and which commands help."""
    why, advice = _reason(what)
    what.say(why)
    what.advise(*advice)


def _reason(what: Reading) -> tuple[str, list[Advice]]:
    if not what.paths.store.exists():
        if what.sample:
            return "There is no sample session yet.", [("welcome --sample", "plays one")]
        return f"Nothing has been measured yet in {what.paths.state}.", [RUN_ONE_SESSION]
    if _is_filtered(what):
        every = ("hooks --since all", "lists every hook there is")
        return f"No record matches these filters ({what.window}).", [every]
    if what.records.source is Source.TRANSCRIPT:
        return f"No history ({what.window}).", [("import", "reads the client's transcripts")]
    further = ("hooks --since all", "looks further back")
    history = ("hooks --source transcript --since all", "shows imported history")
    return f"Nothing was measured ({what.window}).", [RUN_ONE_SESSION, further, history]


def _is_filtered(what: Reading) -> bool:
    records = what.records
    return bool(records.hook or records.event or records.session or records.outcome)
