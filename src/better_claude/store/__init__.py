"""The database: schema, migrations, one writer, any number of readers.

Interfaces (being built; these signatures hold):

store.writer
    Writer.open(path: Path, clock: Clock = SystemClock()) -> Writer
        # creates or migrates; StoreError
    writer.commit(records: Sequence[Record], marks: Sequence[SpoolMark] = (),
                  rejects: Sequence[Reject] = (), imports: Sequence[ImportMark] = (),
                  gone: Sequence[SpoolMark] = ()) -> CommitResult
        # one transaction; on StoreError nothing is written
    writer.spool_marks() -> list[SpoolMark]; writer.import_marks() -> dict[str, ImportMark]
    writer.running() -> list[RunningRun]
    writer.mark_lost(runs: Sequence[str], now_ns: int) -> int   # servers ok, others lost
    writer.expire(before_ns: int, limit: int = 5000) -> int             # rows deleted; call until 0
    writer.close(); usable as context manager
    Synchronous; open, use and close it in one thread.

store.reader
    open_reader(path: Path) -> Reader
        # a missing store reads as an empty one; reader.recorded tells
    reader.status(since_ns, now_ns) -> StatusSummary
    reader.hook_summaries(RunFilter) -> list[HookSummary]
    reader.runs(RunFilter, limit=50) -> list[StoredRun]                 # newest first
    reader.running(RunFilter = RunFilter()) -> list[RunningRun]
    reader.sessions(RunFilter, limit=50) -> list[SessionSummary]
        # newest first; heeds since, until, session
    reader.would_have_stopped(limits_of, since_ns=0) -> list[StopForecast]
        # limits_of(event, key, name, command) -> contract.tree.Limits: Contract.hook_limits fits
    reader.close(); usable as context manager

collect.spool
    SpoolReader(folders: Sequence[Path], marks: Iterable[SpoolMark])
    reader.read(now_ns, limit=5000) -> SpoolBatch(records, marks, rejects, more)
    reader.accept(batch)
        # after the commit; without it the next read gives the same again
    reader.sweep(now_ns) -> list[SpoolMark]
        # deletes consumed files; commit them as `gone`
"""
