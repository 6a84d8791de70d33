"""The one process that wires the stages: supervision, receiver, local API."""
