"""The performance contract: built-in numbers, then the user's, then the project's."""

from better_claude.contract.load import load_contract
from better_claude.contract.tree import Contract, HookTerms, Limits, Value

__all__ = ["Contract", "HookTerms", "Limits", "Value", "load_contract"]
