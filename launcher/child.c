#include "child.h"

#include <signal.h>
#include <time.h>
#include <unistd.h>

#include "os.h"
#include "supervision.h"

uint64_t monotonic_ns(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000000000 + (uint64_t)now.tv_nsec;
}

/* ----------------------------------------------------------------------------------- the signals */

static void watch(struct supervision *s, int signal)
{
    struct sigaction action;
    /* What was ignored before us stays ignored. */
    if (sigaction(signal, NULL, &action) == 0 && action.sa_handler != SIG_IGN)
        sigaddset(&s->watched, signal);
}

static bool watch_signals(struct supervision *s)
{
    static const int tool_signals[] = {SIGQUIT, SIGUSR1, SIGUSR2, SIGWINCH};
    struct sigaction usual = {.sa_handler = SIG_DFL}, before;
    sigprocmask(SIG_SETMASK, NULL, &s->inherited_mask);
    s->ignore_child_death = sigaction(SIGCHLD, NULL, &before) == 0 && before.sa_handler == SIG_IGN;
    if (s->ignore_child_death)
        sigaction(SIGCHLD, &usual, NULL);
    sigemptyset(&s->watched);
    sigaddset(&s->watched, SIGCHLD);
    watch(s, SIGTERM);
    watch(s, SIGINT);
    watch(s, SIGHUP);
    for (size_t i = 0; s->job->run->mode == MODE_TOOL && i < 4; i++)
        watch(s, tool_signals[i]);
    sigset_t blocked = s->watched;
    /* A closed stream is an error of write(2) for us, not an end. */
    sigaddset(&blocked, SIGPIPE);
    s->signals = os_signal_fd(&s->watched);
    return s->signals >= 0 && sigprocmask(SIG_BLOCK, &blocked, NULL) == 0;
}

static void unwatch_signals(struct supervision *s)
{
    if (s->signals >= 0)
        close(s->signals);
    sigprocmask(SIG_SETMASK, &s->inherited_mask, NULL);
    if (s->ignore_child_death)
        signal(SIGCHLD, SIG_IGN);
}

static void take_signals(struct supervision *s)
{
    for (int signal; (signal = os_next_signal(s->signals)) != 0;) {
        if (signal == SIGCHLD)
            continue;
        if (s->job->run->mode == MODE_TOOL) {
            if (!s->child_ended)
                kill(s->child, signal);
            if (signal == SIGTERM || signal == SIGINT || signal == SIGHUP)
                s->reason = BY_SIGNAL;
        } else if (s->phase == RUNNING) {
            begin_stop(s, BY_SIGNAL, signal);
        } else if (s->phase == FLUSHING) {
            s->reason = BY_SIGNAL;
            s->phase = FINISHED;
        }
    }
}

static void supervise(struct supervision *s)
{
    while (s->phase != FINISHED) {
        wait_for_news(s);
        take_signals(s);
        if (s->phase != FLUSHING) {
            pump(s);
            reap(s);
            check_clock(s);
        }
        if (s->phase == RUNNING && s->child_ended)
            begin_flush(s);
        if (s->phase == FLUSHING)
            flush(s);
    }
}

/* -------------------------------------------------------------------------------------- the start */

static void open_cgroup(struct supervision *s)
{
    const struct policy_global *global = s->job->global;
    if (s->job->run->mode != MODE_HOOK || global->cgroup[0] == '\0')
        return;
    /* A cgroup that is made in vain costs ten times this question. */
    if (os_cgroup_is_below(global->cgroup_from))
        s->cgroup = os_cgroup_open(global->cgroup, s->job->run->id);
}

void close_cgroup(struct supervision *s)
{
    if (s->cgroup < 0)
        return;
    close(s->cgroup);
    s->cgroup = -1;
    os_cgroup_remove(s->job->global->cgroup, s->job->run->id);
}

static bool start_child(struct supervision *s)
{
    int out = s->out.child_end, err = s->one_output ? out : s->err.child_end;
    struct spawn spawn = {
        .plan = s->job->plan,
        .fds = {s->in.child_end, out, err},
        .mask = &s->inherited_mask,
        .ignore_child_death = s->ignore_child_death,
        .cgroup = s->cgroup,
    };
    /* The child's own start, up to its first instruction, is not our time. */
    s->spawned_ns = monotonic_ns();
    s->child = os_spawn(&spawn);
    if (spawn.cgroup < 0)
        close_cgroup(s);
    return s->child > 0;
}

/* Nothing could be started: what takes our place finds everything as we found it. */
static void give_back(struct supervision *s)
{
    /* What we have read of the event is in the stream that the child would have had. */
    if (s->in.bytes > 0)
        dup2(s->in.child_end, 0);
    close_streams(s);
    close_cgroup(s);
    unwatch_signals(s);
    os_disown_orphans();
}

static bool start(struct supervision *s)
{
    bool relayed = s->job->run->mode == MODE_HOOK;
    if (!watch_signals(s) || (relayed && !open_streams(s)))
        return false;
    if (relayed)
        read_early(s);
    if (s->job->state[0] != '\0')
        write_start(s->job->state, s->job->run);
    open_cgroup(s);
    if (!os_adopt_orphans() || !start_child(s))
        return false;
    relay_close_child_end(&s->in);
    relay_close_child_end(&s->out);
    relay_close_child_end(&s->err);
    return true;
}

void run_job(struct job *job)
{
    static struct supervision s;
    s = (struct supervision){.job = job, .signals = -1, .cgroup = -1};
    s.in = s.out = s.err = RELAY_CLOSED;
    if (!start(&s)) {
        give_back(&s);
        return;
    }
    os_be_prompt();
    job->run->processes = 1;
    apply_limits(&s);
    begin_looks(&s);
    supervise(&s);
    finish(&s);
}
