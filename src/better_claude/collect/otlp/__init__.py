"""OTLP over HTTP, JSON and protobuf, as Claude Code sends it: bodies to records, no content."""
