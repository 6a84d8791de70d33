"""The client's telemetry settings: where it goes now, and what sends it to us as well."""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

SIGNALS = ("metrics", "logs", "traces")
_PREFIX = "OTEL_EXPORTER_OTLP_"
# Where one of these is set, the destination wants what we do not have: a certificate's key, say.
_UNFEEDABLE = ("CERTIFICATE", "CLIENT_CERTIFICATE", "CLIENT_KEY")
_METRIC_INTERVAL_MS = "10000"
_LOGS_INTERVAL_MS = "2000"


@dataclass(frozen=True, slots=True)
class Receiver:
    """Our own receiver on 127.0.0.1."""

    port: int
    token: str

    @property
    def endpoint(self) -> str:
        """The address that the client is given."""
        return f"http://127.0.0.1:{self.port}"

    @property
    def headers(self) -> str:
        """The header with our token.

        Seen (2.1.330): the client sends values as they are written, without the decoding that the
        OpenTelemetry specification asks for, so nothing is encoded here either.
        """
        return f"authorization=Bearer {self.token}"


@dataclass(frozen=True, slots=True)
class Routing:
    """The variables that bring telemetry to us, what is to be fed on, or why it is left alone."""

    variables: Mapping[str, str]
    forward: Mapping[str, Any]
    refusal: str = ""


def route(env: Mapping[str, str], receiver: Receiver, settings: Mapping[str, Any]) -> Routing:
    """Return what sends telemetry to ``receiver`` and keeps ``env``'s own destination fed.

    ``env`` is what is in force now (settings over process environment). A destination is fed only
    where telemetry was switched on already: an address alone was not asked to receive anything.
    """
    destinations = {signal: _destination(env, signal) for signal in SIGNALS}
    active = {
        signal: place
        for signal, place in destinations.items()
        if place is not None and not _is_ours(place, receiver)
    }
    refusal = _refusal(env, active, settings)
    if refusal:
        return Routing({}, {}, refusal)
    forward = {
        signal: {"url": place, "headers": headers_of(env, signal)}
        for signal, place in active.items()
    }
    return Routing(_variables(env, receiver), forward)


def headers_of(env: Mapping[str, str], signal: str) -> dict[str, str]:
    """Return a signal's headers as the client sends them: the general ones, overlaid by its own."""
    headers: dict[str, str] = {}
    for name in (f"{_PREFIX}HEADERS", f"{_PREFIX}{signal.upper()}_HEADERS"):
        for pair in env.get(name, "").split(","):
            key, separator, value = pair.partition("=")
            if separator and key.strip():
                headers[key.strip()] = value.strip()
    return headers


def _destination(env: Mapping[str, str], signal: str) -> str | None:
    """Return the complete address of a signal that is being sent over OTLP, else None."""
    exporters = env.get(f"OTEL_{signal.upper()}_EXPORTER", "").split(",")
    if not _is_true(env.get("CLAUDE_CODE_ENABLE_TELEMETRY", "")):
        return None
    if "otlp" not in (exporter.strip() for exporter in exporters):
        return None
    own = env.get(f"{_PREFIX}{signal.upper()}_ENDPOINT", "").strip()
    general = env.get(f"{_PREFIX}ENDPOINT", "").strip()
    return own or (f"{general.rstrip('/')}/v1/{signal}" if general else None)


def _is_ours(address: str, receiver: Receiver) -> bool:
    return address.startswith(receiver.endpoint + "/")


def _refusal(env: Mapping[str, str], active: Mapping[str, str], settings: Mapping[str, Any]) -> str:
    if not active:
        return ""
    for signal, address in active.items():
        protocol = _protocol(env, signal)
        if not protocol.startswith("http/"):
            return f"it goes to {_shown(address)} over {protocol}, which cannot be fed on"
        if urlsplit(address).scheme not in ("http", "https"):
            return f"{_shown(address)} is not an http address"
        for name in _UNFEEDABLE:
            if env.get(f"{_PREFIX}{name}") or env.get(f"{_PREFIX}{signal.upper()}_{name}"):
                return f"{_shown(address)} wants a certificate of yours"
    if settings.get("otelHeadersHelper"):
        return "its headers come from otelHeadersHelper"
    return ""


def _shown(address: str) -> str:
    parts = urlsplit(address)
    return f"{parts.scheme}://{parts.hostname or ''}{f':{parts.port}' if parts.port else ''}"


def _protocol(env: Mapping[str, str], signal: str) -> str:
    # Seen (2.1.330): without either variable the client speaks http/protobuf.
    own = env.get(f"{_PREFIX}{signal.upper()}_PROTOCOL", "").strip()
    return own or env.get(f"{_PREFIX}PROTOCOL", "").strip() or "http/protobuf"


def _variables(env: Mapping[str, str], receiver: Receiver) -> dict[str, str]:
    """Return our variables; a signal's own ones are set only where ``env`` has them already."""
    protocol = env.get(f"{_PREFIX}PROTOCOL", "").strip()
    # A destination that is fed gets what the client encoded: its protocol stays where it can.
    fed = any(_destination(env, signal) for signal in SIGNALS)
    ours = "http/protobuf" if fed else "http/json"
    variables = {
        "CLAUDE_CODE_ENABLE_TELEMETRY": "1",
        "OTEL_METRICS_EXPORTER": _with_otlp(env.get("OTEL_METRICS_EXPORTER", "")),
        "OTEL_LOGS_EXPORTER": _with_otlp(env.get("OTEL_LOGS_EXPORTER", "")),
        f"{_PREFIX}PROTOCOL": protocol if protocol.startswith("http/") else ours,
        f"{_PREFIX}ENDPOINT": receiver.endpoint,
        f"{_PREFIX}HEADERS": receiver.headers,
        "OTEL_METRIC_EXPORT_INTERVAL": _interval(
            env, "OTEL_METRIC_EXPORT_INTERVAL", _METRIC_INTERVAL_MS
        ),
        "OTEL_LOGS_EXPORT_INTERVAL": _interval(env, "OTEL_LOGS_EXPORT_INTERVAL", _LOGS_INTERVAL_MS),
    }
    for signal in SIGNALS:
        for name, value in _own_variables(signal, receiver):
            if env.get(name):
                variables[name] = value
        name = f"{_PREFIX}{signal.upper()}_PROTOCOL"
        if env.get(name, "http/").strip()[:5] != "http/":
            variables[name] = "http/json"
    return variables


def _own_variables(signal: str, receiver: Receiver) -> Iterable[tuple[str, str]]:
    name = f"{_PREFIX}{signal.upper()}"
    yield f"{name}_ENDPOINT", f"{receiver.endpoint}/v1/{signal}"
    yield f"{name}_HEADERS", receiver.headers


def _with_otlp(exporters: str) -> str:
    names = [name.strip() for name in exporters.split(",") if name.strip() not in ("", "none")]
    return ",".join(names if "otlp" in names else [*names, "otlp"])


def _interval(env: Mapping[str, str], name: str, ours: str) -> str:
    theirs = env.get(name, "").strip()
    return theirs if re.fullmatch(r"[1-9]\d{0,6}", theirs) else ours


def _is_true(text: str) -> bool:
    return text.strip().lower() in ("1", "true", "yes", "on")
