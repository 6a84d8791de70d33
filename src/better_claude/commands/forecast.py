"""Which hooks the limits would have stopped, from what this machine has seen so far."""

import math
import time
from collections.abc import Iterator, Sequence

from better_claude.contract import Contract
from better_claude.errors import StoreError
from better_claude.hook_names import hook_name
from better_claude.model import Enforcement
from better_claude.paths import Paths
from better_claude.show.cells import plural
from better_claude.store.reader import open_reader
from better_claude.store.views import StopForecast
from better_claude.units import format_duration, format_size

_WINDOW_NS = 30 * 86_400 * 1_000_000_000
_SHOWN = 20


def forecast(paths: Paths, contract: Contract) -> list[StopForecast] | None:
    """Return each hook's history against the limits; None where nothing was ever recorded."""
    if not paths.store.exists():
        return None
    try:
        with open_reader(paths.store) as store:
            return store.would_have_stopped(contract.hook_limits, time.time_ns() - _WINDOW_NS)
    except StoreError:
        return None


def tell_forecast(
    found: Sequence[StopForecast] | None, configured: Sequence[str], paths: Paths
) -> Iterator[str]:
    """Yield lines for a person; ``configured`` are the commands of the hooks there are now."""
    if not found:
        yield "There is no history to say which hooks the limits would have stopped."
        yield "  better-claude import    reads it from the client's transcripts"
        yield "  --mode observe          measures first and stops nothing"
        return
    stopped = [one for one in found if one.over_time or one.over_memory]
    runs = sum(one.runs for one in found)
    if stopped:
        yield f"Of {plural(runs, 'run')} in 30 days the limits would have stopped:"
        yield from (_line(one) for one in stopped[:_SHOWN])
        if len(stopped) > _SHOWN:
            yield f"  … and {len(stopped) - _SHOWN} more hooks"
        yield f"Give one of them another limit in {paths.contract}:"
        yield from _example(stopped[0])
    else:
        yield f"Of {plural(runs, 'run')} in 30 days the limits would have stopped none."
    known = {one.command for one in found}
    unknown = sorted({hook_name(command) for command in configured if command not in known})
    if unknown:
        yield f"Hooks without history: {', '.join(unknown[:10])}{' …' if len(unknown) > 10 else ''}"


def _line(one: StopForecast) -> str:
    reasons = []
    if one.over_time:
        limit = format_duration(one.timeout_ms * 1e6)
        longest = format_duration(one.wall_ns.maximum)
        reasons.append(f"{one.over_time} over {limit} (longest {longest})")
    if one.over_memory:
        limit, peak = format_size(one.memory_bytes), format_size(one.anon_peak_bytes)
        reasons.append(f"{one.over_memory} over {limit} (most {peak})")
    verb = "" if one.enforcement is Enforcement.ENFORCE else "  (observed only)"
    return f"  {one.name}  {one.event}  {plural(one.runs, 'run')}: {', '.join(reasons)}{verb}"


def _example(one: StopForecast) -> Iterator[str]:
    yield f'  [hook."{one.name}"]'
    if one.over_time:
        seconds = math.ceil(one.wall_ns.p99 / 1e9 * 1.5) or 1
        yield f'  timeout = "{max(seconds, math.ceil(one.timeout_ms / 1000))}s"'
    if one.over_memory:
        yield f'  memory = "{math.ceil(one.anon_peak_bytes * 1.5 / (1 << 20))}MB"'
    yield '  # or: mode = "observe"'
