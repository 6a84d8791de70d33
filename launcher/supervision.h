/* What the parts of a supervised run share: child.c runs it, streams.c passes its standard streams
 * on, limits.c looks at its tree and ends it, ending.c records it and ends the launcher. */
#ifndef SUPERVISION_H
#define SUPERVISION_H

#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "child.h"
#include "relay.h"

#define MS 1000000ull
#define NEVER UINT64_MAX

enum phase {
    RUNNING,  /* until the child ends */
    STOPPING, /* between SIGTERM and SIGKILL */
    FLUSHING, /* the child has ended: pass on what it left in the streams */
    FINISHED,
};

enum reason { BY_ITSELF, BY_TIME, BY_MEMORY, BY_SIGNAL };

/* Times are monotonic, in ns. */
struct supervision {
    struct job *job;
    struct relay in, out, err;
    bool one_output; /* stdout and stderr are the same file: `out` carries both */
    uint64_t drained_out, drained_err;

    sigset_t inherited_mask, watched;
    int signals, cgroup; /* descriptors, -1 if there is none */
    bool ignore_child_death;

    pid_t child;
    enum phase phase;
    enum reason reason;
    bool child_ended, tree_empty, is_background, reconsidered;
    int status; /* the child's, as waitpid(2) tells it */
    uint64_t spawned_ns, ended_ns, stop_began_ns;
    uint64_t deadline_ns, grace_ends_ns, next_look_ns; /* or NEVER */
    uint64_t next_exact_ns, look_ns;
};

/* streams.c */
bool open_streams(struct supervision *s);
void close_streams(struct supervision *s);
/* Reads the event if it lies ready: its name is then in the start record. */
void read_early(struct supervision *s);
void pump(struct supervision *s);
/* The child has ended: takes what is left; FINISHED once the client has it. */
void begin_flush(struct supervision *s);
void flush(struct supervision *s);
/* Waits for streams and signals, at most until the supervision's next time. */
void wait_for_news(struct supervision *s);
/* Forks a process that goes on passing streams for what the hook left running. */
void serve_leftovers(struct supervision *s);

/* limits.c */
void apply_limits(struct supervision *s);
void reap(struct supervision *s);
void begin_stop(struct supervision *s, enum reason reason, int signal);
void begin_looks(struct supervision *s);
void check_clock(struct supervision *s);

/* child.c */
void close_cgroup(struct supervision *s);

/* ending.c: does not return. */
_Noreturn void finish(struct supervision *s);

#endif
