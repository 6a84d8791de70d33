-- Schema of store.db, version 1. Units stand in the column names; times are
-- nanoseconds since the Unix epoch. A run id is written in 16 hexadecimal digits
-- everywhere else; here it is the same 64 bits as a signed integer. Codes are
-- listed in store/codes.py. After a change: the test of docs/formats.md.

-- Texts that come again and again: projects, events, tools, models, errors, metrics.
CREATE TABLE names (
    id INTEGER PRIMARY KEY,
    text TEXT NOT NULL UNIQUE
);

-- Identifiers that come again for minutes, then never: prompts and agents.
-- Apart from names because they are dropped with the rows that mention them.
CREATE TABLE idents (
    id INTEGER PRIMARY KEY,
    text TEXT NOT NULL UNIQUE,
    first_ns INTEGER NOT NULL
);

-- What was run: a hook's command, the Bash tool, a server.
CREATE TABLE hooks (
    id INTEGER PRIMARY KEY,
    key TEXT NOT NULL,      -- FNV-1a of the command text, 16 hexadecimal digits
    mode INTEGER NOT NULL,  -- code of the mode
    name TEXT NOT NULL,     -- what a person would call it
    command TEXT NOT NULL,  -- command text, cut; empty for the Bash tool
    UNIQUE (key, mode)
);

-- Limits that were in force for a run: few combinations, so a run names one.
CREATE TABLE terms (
    id INTEGER PRIMARY KEY,
    enforcement INTEGER NOT NULL,         -- code
    timeout_ms INTEGER NOT NULL,          -- 0: none
    memory_limit_bytes INTEGER NOT NULL,  -- 0: none
    UNIQUE (enforcement, timeout_ms, memory_limit_bytes)
);

-- One row a session of the client, with what its hooks cost so far.
CREATE TABLE sessions (
    id INTEGER PRIMARY KEY,
    session TEXT NOT NULL UNIQUE,
    project TEXT NOT NULL DEFAULT '',
    claude_pid INTEGER NOT NULL DEFAULT 0,    -- last one seen
    client_version TEXT NOT NULL DEFAULT '',
    first_ns INTEGER NOT NULL,
    last_ns INTEGER NOT NULL,
    hook_runs INTEGER NOT NULL DEFAULT 0,     -- launcher runs in hook mode
    hook_wait_ns INTEGER NOT NULL DEFAULT 0,
    hook_failures INTEGER NOT NULL DEFAULT 0  -- error, timeout, over_memory, lost
);
CREATE INDEX sessions_by_last ON sessions (last_ns);

-- Finished runs that the launcher told of. Clustered by hook and time: the rows of
-- one hook in one period lie together, and need no other index.
CREATE TABLE runs (
    hook INTEGER NOT NULL,         -- hooks.id
    start_ns INTEGER NOT NULL,
    run INTEGER NOT NULL,
    wall_ns INTEGER NOT NULL,
    outcome INTEGER NOT NULL,      -- code
    event INTEGER NOT NULL,        -- names.id
    session INTEGER NOT NULL,      -- sessions.id
    breach INTEGER NOT NULL,       -- code
    anon_peak_bytes INTEGER NOT NULL,
    user_ns INTEGER NOT NULL,
    sys_ns INTEGER NOT NULL,
    stdin_bytes INTEGER NOT NULL,
    stdout_bytes INTEGER NOT NULL,
    stderr_bytes INTEGER NOT NULL,
    disk_read_bytes INTEGER NOT NULL,
    disk_write_bytes INTEGER NOT NULL,
    overhead_ns INTEGER NOT NULL,
    exit INTEGER NOT NULL,         -- -1 if a signal ended it
    signal INTEGER NOT NULL,
    terms INTEGER NOT NULL,        -- terms.id
    project INTEGER NOT NULL,      -- names.id
    tool INTEGER NOT NULL,         -- names.id
    prompt INTEGER NOT NULL,       -- idents.id
    agent INTEGER NOT NULL,        -- idents.id
    tool_use TEXT NOT NULL,
    claude_pid INTEGER NOT NULL,
    anon_source INTEGER NOT NULL,  -- code
    rss_peak_bytes INTEGER NOT NULL,
    ctx_voluntary INTEGER NOT NULL,
    ctx_involuntary INTEGER NOT NULL,
    processes INTEGER NOT NULL,
    leftovers INTEGER NOT NULL,
    leftover_names TEXT NOT NULL,
    stop_ns INTEGER NOT NULL,
    exec INTEGER NOT NULL,         -- code
    PRIMARY KEY (hook, start_ns, run)
) WITHOUT ROWID;

-- Starts without an end.
CREATE TABLE running (
    run INTEGER PRIMARY KEY,
    hook INTEGER NOT NULL,     -- hooks.id
    start_ns INTEGER NOT NULL,
    launcher_pid INTEGER NOT NULL,
    launcher_ticks INTEGER NOT NULL,
    claude_pid INTEGER NOT NULL,
    session INTEGER NOT NULL,  -- sessions.id
    event INTEGER NOT NULL,    -- names.id
    project INTEGER NOT NULL,  -- names.id
    tool INTEGER NOT NULL      -- names.id
);

-- Runs added up by hour, hook and event, in the transaction that stores them, so that a day of
-- 100,000 runs is answered from some hundred rows. The sketches hold log-scaled
-- counts (see sketch.py): 1% relative accuracy, mergeable.
CREATE TABLE run_hours (
    hour INTEGER NOT NULL,             -- hours since the epoch, of start_ns
    hook INTEGER NOT NULL,             -- hooks.id
    event INTEGER NOT NULL,            -- names.id
    runs INTEGER NOT NULL,
    ok INTEGER NOT NULL,
    blocked INTEGER NOT NULL,
    error INTEGER NOT NULL,
    timeout INTEGER NOT NULL,
    over_memory INTEGER NOT NULL,
    cancelled INTEGER NOT NULL,
    lost INTEGER NOT NULL,
    breaches_time INTEGER NOT NULL,
    breaches_memory INTEGER NOT NULL,
    last_start_ns INTEGER NOT NULL,
    wall_sum_ns INTEGER NOT NULL,
    wall_max_ns INTEGER NOT NULL,
    anon_max_bytes INTEGER NOT NULL,
    cpu_sum_ns INTEGER NOT NULL,
    stdin_bytes INTEGER NOT NULL,
    stdout_bytes INTEGER NOT NULL,
    stderr_bytes INTEGER NOT NULL,
    disk_read_bytes INTEGER NOT NULL,
    disk_write_bytes INTEGER NOT NULL,
    wall_sketch BLOB NOT NULL,         -- of wall_ns
    overhead_sketch BLOB NOT NULL,     -- of overhead_ns
    PRIMARY KEY (hour, hook, event)
) WITHOUT ROWID;

-- Hook runs as transcripts tell them: history, never mixed with the launcher's.
CREATE TABLE history_runs (
    hook INTEGER NOT NULL,         -- hooks.id
    session INTEGER NOT NULL,      -- sessions.id
    ident TEXT NOT NULL,
    time_ns INTEGER NOT NULL,
    event INTEGER NOT NULL,        -- names.id
    duration_ms INTEGER NOT NULL,
    outcome INTEGER NOT NULL,      -- code
    exit INTEGER NOT NULL,
    timeout_ms INTEGER NOT NULL,   -- the client's own limit, 0 if unknown
    project INTEGER NOT NULL,      -- names.id
    PRIMARY KEY (hook, session, ident)
) WITHOUT ROWID;

-- Tool calls as the client saw them; one row a source, queries prefer telemetry.
CREATE TABLE tool_calls (
    session INTEGER NOT NULL,  -- sessions.id
    ident TEXT NOT NULL,
    source INTEGER NOT NULL,   -- code
    time_ns INTEGER NOT NULL,
    tool INTEGER NOT NULL,     -- names.id
    duration_ms INTEGER NOT NULL,
    ok INTEGER NOT NULL,       -- 1 or 0
    error INTEGER NOT NULL,    -- names.id
    input_bytes INTEGER NOT NULL,
    result_bytes INTEGER NOT NULL,
    prompt INTEGER NOT NULL,   -- idents.id
    agent INTEGER NOT NULL,    -- idents.id
    PRIMARY KEY (session, ident, source)
) WITHOUT ROWID;

-- Requests to the model; one row a source, queries prefer telemetry.
CREATE TABLE api_calls (
    session INTEGER NOT NULL,  -- sessions.id
    ident TEXT NOT NULL,
    source INTEGER NOT NULL,   -- code
    time_ns INTEGER NOT NULL,
    model INTEGER NOT NULL,    -- names.id
    duration_ms INTEGER NOT NULL,
    ttft_ms INTEGER NOT NULL,  -- time to the first token
    input_tokens INTEGER NOT NULL,
    output_tokens INTEGER NOT NULL,
    cache_read_tokens INTEGER NOT NULL,
    cache_creation_tokens INTEGER NOT NULL,
    cost_usd REAL NOT NULL,
    ok INTEGER NOT NULL,       -- 1 or 0
    error INTEGER NOT NULL,    -- names.id
    prompt INTEGER NOT NULL,   -- idents.id
    agent INTEGER NOT NULL,    -- idents.id
    PRIMARY KEY (session, ident, source)
) WITHOUT ROWID;

-- Compactions of a session's context.
CREATE TABLE compactions (
    session INTEGER NOT NULL,      -- sessions.id
    ident TEXT NOT NULL,
    source INTEGER NOT NULL,       -- code
    time_ns INTEGER NOT NULL,
    trigger_name INTEGER NOT NULL, -- names.id
    pre_tokens INTEGER NOT NULL,
    post_tokens INTEGER NOT NULL,
    duration_ms INTEGER NOT NULL,
    ok INTEGER NOT NULL,           -- 1 or 0
    PRIMARY KEY (session, ident, source)
) WITHOUT ROWID;

-- Other events of the client's telemetry: names and numbers, no content.
CREATE TABLE client_events (
    session INTEGER NOT NULL,  -- sessions.id
    ident TEXT NOT NULL,
    source INTEGER NOT NULL,   -- code
    time_ns INTEGER NOT NULL,
    name INTEGER NOT NULL,     -- names.id
    attributes TEXT NOT NULL,  -- JSON object, keys sorted
    PRIMARY KEY (session, ident, source)
) WITHOUT ROWID;

-- Points of the client's metrics (delta temporality).
CREATE TABLE metric_points (
    session INTEGER NOT NULL,     -- sessions.id
    name INTEGER NOT NULL,        -- names.id
    time_ns INTEGER NOT NULL,
    attributes TEXT NOT NULL,     -- JSON object, keys sorted
    value REAL NOT NULL,
    PRIMARY KEY (session, name, time_ns, attributes)
) WITHOUT ROWID;

-- Looks at a session's process tree. Totals count from when the tree was first seen, -1: not told.
CREATE TABLE session_samples (
    session INTEGER NOT NULL,  -- sessions.id
    time_ns INTEGER NOT NULL,
    claude_pid INTEGER NOT NULL,
    processes INTEGER NOT NULL,
    cpu_ns INTEGER NOT NULL,
    anon_bytes INTEGER NOT NULL,
    rss_bytes INTEGER NOT NULL,
    disk_read_bytes INTEGER NOT NULL,
    disk_write_bytes INTEGER NOT NULL,
    net_received_bytes INTEGER NOT NULL,
    net_sent_bytes INTEGER NOT NULL,
    PRIMARY KEY (session, time_ns, claude_pid)
) WITHOUT ROWID;

-- The same added up, a row for each process tree of a session. A total that went back began
-- again from zero, so "base" keeps what was counted before and "last" what is counted since.
CREATE TABLE session_processes (
    session INTEGER NOT NULL,  -- sessions.id
    claude_pid INTEGER NOT NULL,
    last_ns INTEGER NOT NULL,
    processes_peak INTEGER NOT NULL,
    anon_peak_bytes INTEGER NOT NULL,
    rss_peak_bytes INTEGER NOT NULL,
    cpu_base_ns INTEGER NOT NULL,
    cpu_last_ns INTEGER NOT NULL,
    disk_read_base_bytes INTEGER NOT NULL,
    disk_read_last_bytes INTEGER NOT NULL,
    disk_write_base_bytes INTEGER NOT NULL,
    disk_write_last_bytes INTEGER NOT NULL,
    net_received_base_bytes INTEGER NOT NULL,
    net_received_last_bytes INTEGER NOT NULL,
    net_sent_base_bytes INTEGER NOT NULL,
    net_sent_last_bytes INTEGER NOT NULL,
    PRIMARY KEY (session, claude_pid)
) WITHOUT ROWID;

-- How far each spool file has been read; commits with the records that were read from it.
CREATE TABLE spool_offsets (
    folder TEXT NOT NULL,
    file TEXT NOT NULL,
    inode INTEGER NOT NULL,
    offset_bytes INTEGER NOT NULL,
    PRIMARY KEY (folder, file, inode)
) WITHOUT ROWID;

-- How far each transcript has been read; commits with the records that were read from it.
CREATE TABLE imports (
    path TEXT NOT NULL PRIMARY KEY,
    inode INTEGER NOT NULL,
    size_bytes INTEGER NOT NULL,
    mtime_ns INTEGER NOT NULL,
    offset_bytes INTEGER NOT NULL,
    identity TEXT NOT NULL     -- tells the content from another at the same path
) WITHOUT ROWID;

-- Spool bytes that were set aside: where and why, never what they say. A row may stand
-- for many that came together.
CREATE TABLE quarantine (
    id INTEGER PRIMARY KEY,
    time_ns INTEGER NOT NULL,       -- when they were set aside
    reason TEXT NOT NULL,
    file TEXT NOT NULL,
    offset_bytes INTEGER NOT NULL,  -- of the first
    length_bytes INTEGER NOT NULL,  -- of all
    pieces INTEGER NOT NULL
);

-- The last commit, and what retention has removed: one row.
CREATE TABLE progress (
    id INTEGER PRIMARY KEY CHECK (id = 1),
    commit_ns INTEGER NOT NULL,     -- 0 before the first
    lag_ns INTEGER NOT NULL,        -- age of the newest launcher record when it was committed
    expired_ns INTEGER NOT NULL     -- runs that started before may be gone; 0: all are here
);
INSERT INTO progress VALUES (1, 0, 0, 0);
