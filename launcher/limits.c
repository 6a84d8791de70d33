#include <errno.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>

#include "os.h"
#include "supervision.h"
#include "text.h"

/* The first look comes early, because many hooks are short; then the cadence that holds a process which allocates 500 MB/s to an overshoot of some MB. */
#define FIRST_LOOK_NS (3 * MS / 2)
#define LOOK_NS (5 * MS)
/* A tool has no limit of ours: its looks grow rare. */
#define TOOL_LOOK_MAX_NS (250 * MS)
/* Looking at hundreds of processes takes longer: it may take this share of our time at most. */
#define LOOK_SHARE 10
/* Forked processes share memory that statm counts for each of them. Below this it does not matter. */
#define SHARING_MATTERS ((uint64_t)8 << 20)
/* The exact count walks page tables: it may take this share of our time at most. */
#define EXACT_SHARE 8
/* Processes that cannot be killed (another user's, or stuck in the kernel) are given up. */
#define KILL_MAX_NS (2000 * MS)
#define KILL_PAUSE_NS (MS / 2)

static struct tree tree;

/* `better-claude run --mode` speaks for its one session, over the policy. */
static void apply_session_mode(struct limits *limits)
{
    const char *mode = getenv("BETTER_CLAUDE_MODE");
    if (mode != NULL && strcmp(mode, "observe") == 0)
        limits->enforce = false;
    else if (mode != NULL && strcmp(mode, "enforce") == 0)
        limits->enforce = true;
}

/* Whatever speaks another language than hooks do is not held to a hook's limits: a server's protocol,
 * a whole object that names no event, a status line's. Nothing at all is a hook that waits. */
static bool may_be_hook(const struct event *event)
{
    if (event->name[0] != '\0')
        return strcmp(event->name, "Status") != 0;
    return !event->is_jsonrpc && !scan_complete(&event->scan);
}

/* A hook whose event has not come yet has the limits of an unnamed event, from the same start. What is
 * being stopped, or has ended, keeps those that held: an event may still come in afterwards. */
void apply_limits(struct supervision *s)
{
    struct run *run = s->job->run;
    if (s->phase != RUNNING)
        return;
    s->deadline_ns = NEVER;
    if (run->mode != MODE_HOOK)
        return;
    struct subject subject = {s->job->project_key, run->key, run->command, s->job->event->name};
    run->limits = policy_limits(s->job->policy, &subject);
    apply_session_mode(&run->limits);
    if (s->is_background)
        run->limits.timeout_ms = s->job->global->background_ms;
    if (!may_be_hook(s->job->event)) {
        run->limits = (struct limits){0};
        s->out.hold = false;
    }
    uint64_t timeout_ms = run->limits.timeout_ms;
    if (timeout_ms != 0 && run->breach == NULL && timeout_ms < NEVER / MS / 2)
        s->deadline_ns = s->job->started_ns + timeout_ms * MS;
}

void reap(struct supervision *s)
{
    int status;
    pid_t pid;
    while ((pid = waitpid(-1, &status, WNOHANG)) > 0) {
        if (pid == s->child) {
            s->status = status;
            s->child_ended = true;
            s->ended_ns = monotonic_ns();
        }
    }
    s->tree_empty = pid < 0 && errno == ECHILD;
}

/* Where nothing can be listed (no /proc, no descriptor left) it is for the child alone. */
static void signal_listed(const struct supervision *s, int signal)
{
    for (size_t i = 0; i < tree.count; i++)
        kill(tree.pids[i], signal);
    if (tree.count == 0 && !s->child_ended)
        kill(s->child, signal);
}

/* Stopped processes cannot fork. Passes go on until one sees the same processes as the one before:
 * what was forked while we looked is seen by the next. */
static void freeze_tree(uint64_t give_up_ns)
{
    uint64_t seen = 0, before;
    do {
        before = seen;
        os_list_tree(&tree, SIGSTOP);
        seen = fnv1a_of((const char *)tree.pids, tree.count * sizeof *tree.pids);
    } while (seen != before && monotonic_ns() < give_up_ns);
}

/* Every orphan becomes our child, so an empty list of children is an empty tree. */
static void kill_tree(struct supervision *s)
{
    uint64_t give_up_ns = monotonic_ns() + KILL_MAX_NS;
    struct pollfd ready = {.fd = s->signals, .events = POLLIN};
    if (s->cgroup >= 0)
        os_cgroup_kill(s->cgroup);
    for (reap(s); !s->tree_empty && monotonic_ns() < give_up_ns; reap(s)) {
        freeze_tree(give_up_ns);
        signal_listed(s, SIGKILL);
        reap(s);
        if (s->tree_empty)
            return;
        os_wait(&ready, 1, KILL_PAUSE_NS);
        os_next_signal(s->signals);
    }
}

void begin_stop(struct supervision *s, enum reason reason, int signal)
{
    s->reason = reason;
    s->phase = STOPPING;
    s->stop_began_ns = monotonic_ns();
    s->grace_ends_ns = s->stop_began_ns + s->job->global->grace_ms * MS;
    s->deadline_ns = NEVER;
    /* First the whole list: who hears of it early may end and leave its children where we have been. */
    os_list_tree(&tree, 0);
    signal_listed(s, signal);
    signal_listed(s, SIGCONT);
}

static void pass_limit(struct supervision *s, enum reason reason)
{
    struct run *run = s->job->run;
    run->breach = reason == BY_TIME ? "time" : "memory";
    s->deadline_ns = NEVER;
    if (run->limits.enforce)
        begin_stop(s, reason, SIGTERM);
}

/* Returns the tree's anonymous memory as a memory cgroup would charge it, or 0 for "no more than
 * was known before". The sum over processes counts what forks share more than once; it is only an
 * upper bound, so a new peak is counted exactly, and so is what would break the limit. */
static uint64_t polled_bytes(struct supervision *s, uint64_t now_ns)
{
    const struct run *run = s->job->run;
    uint64_t limit = run->limits.memory_bytes, upper = os_private_bytes(&tree);
    bool breaks = limit != 0 && upper > limit;
    bool may_share = tree.count > 1 && upper > SHARING_MATTERS && upper > run->anon_peak_bytes;
    if (!breaks && !may_share)
        return upper;
    if (now_ns < s->next_exact_ns)
        return 0;
    uint64_t exact = os_exact_private_bytes(&tree), after_ns = monotonic_ns();
    s->next_exact_ns = after_ns + (after_ns - now_ns) * EXACT_SHARE;
    return exact < upper ? exact : upper;
}

static uint64_t look_at_memory(struct supervision *s, uint64_t now_ns)
{
    struct run *run = s->job->run;
    uint64_t bytes = 0;
    os_list_tree(&tree, 0);
    if (tree.count > run->processes)
        run->processes = tree.count;
    bool charged = s->cgroup >= 0 && os_cgroup_private_bytes(s->cgroup, &bytes);
    /* The kernel adds a cgroup's memory up when enough has changed: a small tree may still read zero. */
    if (!charged || bytes < SHARING_MATTERS) {
        uint64_t polled = polled_bytes(s, now_ns);
        charged = charged && bytes >= polled;
        bytes = charged ? bytes : polled;
    }
    if (bytes > run->anon_peak_bytes) {
        run->anon_peak_bytes = bytes;
        run->anon_source = charged ? "cgroup" : "statm";
    }
    return bytes;
}

static void look(struct supervision *s, uint64_t now_ns)
{
    struct run *run = s->job->run;
    uint64_t bytes = look_at_memory(s, now_ns), limit = run->limits.memory_bytes;
    if (run->mode == MODE_TOOL)
        s->look_ns = s->look_ns * 5 / 4 < TOOL_LOOK_MAX_NS ? s->look_ns * 5 / 4 : TOOL_LOOK_MAX_NS;
    uint64_t after_ns = monotonic_ns(), rest_ns = (after_ns - now_ns) * LOOK_SHARE;
    s->next_look_ns = after_ns + (rest_ns > s->look_ns ? rest_ns : s->look_ns);
    if (s->phase == RUNNING && limit != 0 && bytes > limit && run->breach == NULL)
        pass_limit(s, BY_MEMORY);
    else if (s->phase == STOPPING && s->reason == BY_MEMORY && bytes / 2 > limit)
        s->grace_ends_ns = now_ns; /* no grace for going on */
}

void begin_looks(struct supervision *s)
{
    s->look_ns = LOOK_NS;
    s->next_look_ns = s->spawned_ns + FIRST_LOOK_NS;
}

/* The service may have learned of this project, or of a hook that is async, from this very run: its
 * policy is read once more before a run is ended by what was known at its start. */
static void reconsider(struct supervision *s)
{
    static char text[POLICY_MAX], path[STATE_PATH_MAX];
    static struct policy policy;
    s->reconsidered = true;
    if (s->job->state[0] == '\0' || !state_path(path, s->job->state, "policy"))
        return;
    policy = policy_load(path, text, sizeof text);
    s->job->policy = &policy;
    apply_limits(s);
}

void check_clock(struct supervision *s)
{
    uint64_t now_ns = monotonic_ns();
    if (s->phase == RUNNING && now_ns >= s->deadline_ns && !s->reconsidered)
        reconsider(s);
    if (s->phase == RUNNING && now_ns >= s->deadline_ns)
        pass_limit(s, BY_TIME);
    if (s->phase <= STOPPING && !s->tree_empty && now_ns >= s->next_look_ns)
        look(s, now_ns);
    if (s->phase == STOPPING && (s->tree_empty || now_ns >= s->grace_ends_ns)) {
        kill_tree(s);
        s->phase = FINISHED;
    }
}
