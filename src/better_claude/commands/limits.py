"""The contract's limits for what the tables list: each looked up once."""

from functools import cache

from better_claude.contract import Contract, Limits, load_contract
from better_claude.errors import ContractError
from better_claude.paths import Paths
from better_claude.store.views import HookSummary, RunningRun


class ContractLimits:
    """Answers which limits hold for a hook; the user's contract only, as no project is at hand.

    The sample session is judged by the built-in contract, under which it was played. So is all
    else where the user's file cannot be used: ``error`` says why, empty if it can.
    """

    def __init__(self, paths: Paths, built_in: bool = False) -> None:
        self.error = ""
        try:
            self.contract: Contract = load_contract(None if built_in else paths.contract)
        except ContractError as error:
            # What happened on this machine can be told without the limits.
            self.contract = load_contract()
            self.error = error.message
        self._limits = cache(self.contract.hook_limits)

    def __call__(self, hook: HookSummary | RunningRun) -> Limits:
        """Return the limits in force for ``hook``."""
        return self._limits(hook.event, hook.key, hook.name, hook.command)
