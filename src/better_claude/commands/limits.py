"""The contract's limits for what the tables list: each looked up once."""

from functools import cache

from better_claude.contract import Contract, Limits, load_contract
from better_claude.paths import Paths
from better_claude.store.views import HookSummary, RunningRun


class ContractLimits:
    """Answers which limits hold for a hook; the user's contract only, as no project is at hand.

    The sample session is judged by the built-in contract, under which it was played.
    """

    def __init__(self, paths: Paths, built_in: bool = False) -> None:
        self.contract: Contract = load_contract(None if built_in else paths.contract)
        self._limits = cache(self.contract.hook_limits)

    def __call__(self, hook: HookSummary | RunningRun) -> Limits:
        """Return the limits in force for ``hook``."""
        return self._limits(hook.event, hook.key, hook.name, hook.command)
