"""The errors that reach a user, each with a slug that stands in docs/messages.md."""


class BetterClaudeError(Exception):
    """Something that a user can understand and mend.

    ``message`` says what happened and where, ``remedy`` what to do next, and
    ``slug`` names the entry in docs/messages.md. Commands print it on stderr
    as one block and exit with ``exit_code``.
    """

    exit_code = 1

    def __init__(self, slug: str, message: str, remedy: str = "") -> None:
        super().__init__(message)
        self.slug = slug
        self.message = message
        self.remedy = remedy


class UsageError(BetterClaudeError):
    """The command line cannot be carried out as it was written (exit status 2)."""

    exit_code = 2


class ContractError(BetterClaudeError):
    """A contract file cannot be used."""


class SettingsError(BetterClaudeError):
    """A Claude Code settings file cannot be read or changed safely."""


class ServiceError(BetterClaudeError):
    """The service cannot be started, reached or stopped."""


class StoreError(BetterClaudeError):
    """The database cannot be opened or is from another version."""
