"""Say what SQLite's errors mean for a user."""

from pathlib import Path

from better_claude.errors import StoreError


def explained(error: Exception, path: Path) -> StoreError:
    """Return the error to raise for one that the database or the file system gave."""
    name = getattr(error, "sqlite_errorname", "")
    if name.startswith("SQLITE_FULL"):
        return StoreError(
            "store-full",
            f"{path} cannot grow: the disk is full",
            "Free some space. Records wait in the spool and are stored when there is room.",
        )
    if name.startswith(("SQLITE_BUSY", "SQLITE_LOCKED")):
        return StoreError(
            "store-busy",
            f"{path} is locked by another process",
            "Another import may be running; try again when it is done.",
        )
    if name.startswith(("SQLITE_CORRUPT", "SQLITE_NOTADB")):
        return StoreError(
            "store-damaged",
            f"{path} is damaged: {error}",
            "Stop the service, move the file away and start it again: a new one is made.",
        )
    return StoreError(
        "store-failed",
        f"{path} cannot be used: {error}",
        "Look at the permissions of the file and its folder, and at the free space.",
    )
