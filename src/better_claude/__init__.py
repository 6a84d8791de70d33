"""Measure and limit every process that Claude Code starts."""

__version__ = "0.1.0"
