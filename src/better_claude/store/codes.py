"""The small numbers that stand for closed sets of words in the database."""

from better_claude.model import Enforcement, Mode, Outcome, Source

# The position is the code. Append only: stored rows keep their meaning for ever.
MODES = (Mode.HOOK, Mode.TOOL, Mode.SERVER)
OUTCOMES = (
    Outcome.OK,
    Outcome.BLOCKED,
    Outcome.ERROR,
    Outcome.TIMEOUT,
    Outcome.OVER_MEMORY,
    Outcome.CANCELLED,
    Outcome.LOST,
    Outcome.UNKNOWN,
)
# What a launcher's run can come to; only a transcript may not know.
RUN_OUTCOMES = OUTCOMES[:7]
ENFORCEMENTS = (Enforcement.ENFORCE, Enforcement.OBSERVE)
SOURCES = (Source.LAUNCHER, Source.TELEMETRY, Source.TRANSCRIPT, Source.SAMPLER)
BREACHES = ("", "time", "memory")
ANON_SOURCES = ("", "statm", "cgroup")
EXECS = ("", "direct", "shell")

# A deliberate block is a success; a cancelled run is nobody's fault.
FAILURES = (Outcome.ERROR, Outcome.TIMEOUT, Outcome.OVER_MEMORY, Outcome.LOST)

MODE_CODE = {word: code for code, word in enumerate(MODES)}
OUTCOME_CODE = {word: code for code, word in enumerate(OUTCOMES)}
ENFORCEMENT_CODE = {word: code for code, word in enumerate(ENFORCEMENTS)}
SOURCE_CODE = {word: code for code, word in enumerate(SOURCES)}
BREACH_CODE = {word: code for code, word in enumerate(BREACHES)}
ANON_SOURCE_CODE = {word: code for code, word in enumerate(ANON_SOURCES)}
EXEC_CODE = {word: code for code, word in enumerate(EXECS)}
FAILURE_CODES = frozenset(OUTCOME_CODE[outcome] for outcome in FAILURES)


def signed_run(run: str) -> int:
    """Return the 64 bits of a run id, 16 hexadecimal digits, as a signed integer."""
    number = int(run, 16)
    return number - (1 << 64) if number >> 63 else number


def spelled_run(number: int) -> str:
    """Return a run id as it is written everywhere else."""
    return f"{number & 0xFFFF_FFFF_FFFF_FFFF:016x}"
