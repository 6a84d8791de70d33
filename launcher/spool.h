/* Where our state lives, and the two records of a run (docs/formats.md). */
#ifndef SPOOL_H
#define SPOOL_H

#include <stdbool.h>
#include <stdint.h>

#include "event.h"
#include "mode.h"
#include "policy.h"

#define STATE_PATH_MAX 3072
#define LEFTOVER_NAMES_MAX 256

/* Everything that is recorded of one run. Texts belong to the process's start or to `event`. */
struct run {
    char id[17], key[17];
    uint64_t start_ns;
    enum mode mode;
    long launcher_pid, claude_pid;
    uint64_t launcher_ticks;
    const char *command, *session, *project;
    const struct event *event;

    struct limits limits;
    const char *outcome, *breach, *exec, *anon_source;
    int exit_code, signal;
    uint64_t wall_ns, stop_ns, overhead_ns, user_ns, sys_ns;
    uint64_t anon_peak_bytes, rss_peak_bytes, disk_read_bytes, disk_write_bytes;
    uint64_t stdin_bytes, stdout_bytes, stderr_bytes, ctx_voluntary, ctx_involuntary;
    uint64_t processes, leftovers;
    char leftover_names[LEFTOVER_NAMES_MAX + 1];
};

/* Finds the state folder; false if there is nowhere it could be. `self` is how we were called. */
bool find_state(char *state, const char *self);
/* Writes `<state>/<name>` to `path` (of STATE_PATH_MAX bytes). */
bool state_path(char *path, const char *state, const char *name);

void write_start(const char *state, const struct run *run);
void write_end(const char *state, const struct run *run);

#endif
