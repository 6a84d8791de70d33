/* Runs the command as our child: passes its streams on, holds it to its limits, ends its tree. */
#ifndef CHILD_H
#define CHILD_H

#include <stdbool.h>
#include <stdint.h>

#include "command.h"
#include "event.h"
#include "policy.h"
#include "spool.h"

struct job {
    struct run *run;
    struct event *event;
    const struct plan *plan;
    const struct policy *policy;
    const struct policy_global *global;
    const char *state; /* "" if there is none */
    const char *project_key;
    uint64_t started_ns; /* monotonic */
};

uint64_t monotonic_ns(void);

/* Runs it to its end and does not return; returns only if it could not be started at all, with
 * everything as it was before. */
void run_job(struct job *job);

#endif
