#include "child.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "os.h"
#include "relay.h"
#include "text.h"

#define MS 1000000ull
/* The first look comes early, because many hooks are short; then the cadence that holds a process
 * which allocates 500 MB/s to an overshoot of some MB. */
#define FIRST_LOOK_NS (3 * MS / 2)
#define LOOK_NS (5 * MS)
/* A tool has no limit of ours: its looks grow rare. */
#define TOOL_LOOK_MAX_NS (250 * MS)
/* Looking at hundreds of processes takes longer: it may take this share of our time at most. */
#define LOOK_SHARE 10
/* Processes that cannot be killed (another user's, or stuck in the kernel) are given up. */
#define KILL_MAX_NS (2000 * MS)
#define KILL_PAUSE_NS (MS / 2)
/* How long a client that does not read may delay the message of a stopped hook. */
#define MESSAGE_MAX_NS (100 * MS)
/* The client writes the event as soon as it has started us: this long for a hook that is quicker. */
#define LATE_EVENT_NS (1 * MS)
#define LATE_EVENT_MAX ((uint64_t)1 << 20)
/* More than this cannot lie in a stream's kernel buffers when its writer has ended. */
#define DRAIN_MAX ((uint64_t)1 << 20)
/* Of the command, in the line that a stopped hook prints. */
#define SHOWN_MAX 100
/* Forked processes share memory that statm counts for each of them. Below this it does not matter. */
#define SHARING_MATTERS ((uint64_t)8 << 20)
/* The exact count walks page tables: it may take this share of our time at most. */
#define EXACT_SHARE 8
#define EXIT_TIMEOUT 124
#define EXIT_OVER_MEMORY 125

enum phase {
    RUNNING,  /* until the child ends */
    STOPPING, /* between SIGTERM and SIGKILL */
    FLUSHING, /* the child has ended: pass on what it left in the streams */
    FINISHED,
};

enum reason { BY_ITSELF, BY_TIME, BY_MEMORY, BY_SIGNAL };

struct supervision {
    struct job *job;
    struct relay in, out, err;
    sigset_t inherited_mask, watched;
    int signals, cgroup;
    pid_t child;
    enum phase phase;
    enum reason reason;
    bool child_ended, tree_empty, ignore_child_death, answer_seen;
    int status, end_signal;
    uint64_t spawned_ns, ended_ns, stop_began_ns;
    uint64_t deadline_ns, grace_ends_ns, next_look_ns, next_exact_ns, look_ns; /* monotonic; UINT64_MAX: never */
    uint64_t drained[2];
};

static char stdin_buffer[RELAY_MAX], stderr_buffer[RELAY_MAX], stdout_buffer[HELD_MAX];
static struct tree tree;

uint64_t monotonic_ns(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000000000 + (uint64_t)now.tv_nsec;
}

/* ---------------------------------------------------------------------------------------- limits */

/* `better-claude run --mode` speaks for its one session, over the policy. */
static void apply_session_mode(struct limits *limits)
{
    const char *mode = getenv("BETTER_CLAUDE_MODE");
    if (mode != NULL && strcmp(mode, "observe") == 0)
        limits->enforce = false;
    else if (mode != NULL && strcmp(mode, "enforce") == 0)
        limits->enforce = true;
}

/* A hook whose event has not come yet has the limits of an unnamed event, from the same start. */
static void apply_limits(struct supervision *s)
{
    struct run *run = s->job->run;
    s->deadline_ns = UINT64_MAX;
    if (run->mode != MODE_HOOK)
        return;
    struct subject subject = {s->job->project_key, run->key, run->command, s->job->event->name};
    run->limits = policy_limits(s->job->policy, &subject);
    apply_session_mode(&run->limits);
    if (s->answer_seen)
        run->limits.timeout_ms = s->job->global->background_ms;
    bool is_event = s->job->event->name[0] != '\0' || !scan_complete(&s->job->event->scan);
    if (!is_event || (s->job->event->is_jsonrpc && s->job->event->name[0] == '\0')) {
        /* Whatever speaks another language than hooks do is not held to a hook's limits. */
        run->limits = (struct limits){0};
        s->out.hold = false;
    }
    uint64_t timeout_ms = run->limits.timeout_ms;
    if (timeout_ms != 0 && run->breach == NULL && timeout_ms < UINT64_MAX / MS / 2)
        s->deadline_ns = s->job->started_ns + timeout_ms * MS;
}

/* ----------------------------------------------------------------------------------- the streams */

static bool same_file(int first, int second)
{
    struct stat a, b;
    return fstat(first, &a) == 0 && fstat(second, &b) == 0 && a.st_dev == b.st_dev &&
           a.st_ino == b.st_ino;
}

/* Where stdout and stderr are one (2>&1), one relay keeps the order of what is written. */
static bool open_relays(struct supervision *s)
{
    enum relay_kind in = relay_kind_of(0), out = relay_kind_of(1), err = relay_kind_of(2);
    if (out != RELAY_NONE && same_file(1, 2))
        err = RELAY_NONE;
    if (relay_open(&s->in, 0, in, stdin_buffer, sizeof stdin_buffer) &&
        relay_open(&s->out, 1, out, stdout_buffer, sizeof stdout_buffer) &&
        relay_open(&s->err, 2, err, stderr_buffer, sizeof stderr_buffer)) {
        s->out.hold = true;
        return true;
    }
    return false;
}

/* Reads the event too, as it passes. */
static void pump_stdin(struct supervision *s)
{
    size_t got = relay_read(&s->in);
    if (got > 0) {
        bool was_named = s->job->event->name[0] != '\0';
        event_feed(s->job->event, s->in.buffer + s->in.first + s->in.length - got, got);
        if (s->child > 0 && (!was_named || scan_complete(&s->job->event->scan)))
            apply_limits(s);
    }
    relay_write(&s->in);
}

/* A first line that says `"async": true` is for the client to read while we run on. */
static void look_for_async(struct supervision *s)
{
    if (!s->out.hold || s->answer_seen || s->out.length == 0 || s->out.buffer[0] != '{')
        return;
    const char *end = memchr(s->out.buffer, '\n', s->out.length);
    size_t length = end == NULL ? s->out.length : (size_t)(end - s->out.buffer);
    if (!answer_read(s->out.buffer, length).is_async)
        return;
    s->answer_seen = true;
    s->out.hold = false;
    apply_limits(s);
}

static void pump_stdout(struct supervision *s)
{
    if (relay_read(&s->out) > 0)
        look_for_async(s);
    if (s->out.first + s->out.length == s->out.capacity)
        s->out.hold = false;
    relay_write(&s->out);
}

static void pump_stderr(struct supervision *s)
{
    relay_read(&s->err);
    relay_write(&s->err);
}

/* The event usually lies ready: its name is then in the start record, and the limits are known. */
static void read_early(struct supervision *s)
{
    struct stat status;
    if (s->in.kind != RELAY_NONE) {
        pump_stdin(s);
        pump_stdin(s);
    } else if (fstat(0, &status) == 0 && S_ISREG(status.st_mode)) {
        ssize_t got = pread(0, stdin_buffer, sizeof stdin_buffer, lseek(0, 0, SEEK_CUR));
        event_feed(s->job->event, stdin_buffer, got > 0 ? (size_t)got : 0);
    }
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
    return s->signals >= 0 && sigprocmask(SIG_BLOCK, &blocked, &s->inherited_mask) == 0;
}

static void unwatch_signals(struct supervision *s)
{
    if (s->signals >= 0)
        close(s->signals);
    sigprocmask(SIG_SETMASK, &s->inherited_mask, NULL);
    if (s->ignore_child_death)
        signal(SIGCHLD, SIG_IGN);
}

/* -------------------------------------------------------------------------------------- the tree */

static void reap(struct supervision *s)
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

static void signal_listed(int signal)
{
    for (size_t i = 0; i < tree.count; i++)
        kill(tree.pids[i], signal);
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
        signal_listed(SIGKILL);
        reap(s);
        if (s->tree_empty)
            return;
        os_wait(&ready, 1, KILL_PAUSE_NS);
        os_next_signal(s->signals);
    }
}

static void begin_stop(struct supervision *s, enum reason reason, int signal)
{
    s->reason = reason;
    s->phase = STOPPING;
    s->stop_began_ns = monotonic_ns();
    s->grace_ends_ns = s->stop_began_ns + s->job->global->grace_ms * MS;
    s->deadline_ns = UINT64_MAX;
    /* First the whole list: who hears of it early may end and leave its children where we have been. */
    os_list_tree(&tree, 0);
    signal_listed(signal);
    signal_listed(SIGCONT);
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

/* ------------------------------------------------------------------------------------ the limits */

static void pass_limit(struct supervision *s, enum reason reason)
{
    struct run *run = s->job->run;
    run->breach = reason == BY_TIME ? "time" : "memory";
    s->deadline_ns = UINT64_MAX;
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
    uint64_t bytes;
    os_list_tree(&tree, 0);
    if (tree.count > run->processes)
        run->processes = tree.count;
    bool charged = s->cgroup >= 0 && os_cgroup_private_bytes(s->cgroup, &bytes);
    if (!charged)
        bytes = polled_bytes(s, now_ns);
    run->anon_source = charged ? "cgroup" : "statm";
    if (bytes > run->anon_peak_bytes)
        run->anon_peak_bytes = bytes;
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

static void check_clock(struct supervision *s)
{
    uint64_t now_ns = monotonic_ns();
    if (s->phase == RUNNING && now_ns >= s->deadline_ns)
        pass_limit(s, BY_TIME);
    if (s->phase <= STOPPING && now_ns >= s->next_look_ns)
        look(s, now_ns);
    if (s->phase == STOPPING && (s->tree_empty || now_ns >= s->grace_ends_ns)) {
        kill_tree(s);
        s->phase = FINISHED;
    }
}

/* ---------------------------------------------------------------------------------- the main loop */

static int64_t time_to_next(const struct supervision *s)
{
    if (s->phase == FLUSHING)
        return INT64_MAX;
    uint64_t next = s->next_look_ns < s->deadline_ns ? s->next_look_ns : s->deadline_ns;
    if (s->phase == STOPPING && s->grace_ends_ns < next)
        next = s->grace_ends_ns;
    uint64_t now_ns = monotonic_ns();
    return next == UINT64_MAX ? INT64_MAX : next > now_ns ? (int64_t)(next - now_ns) : 0;
}

static void wait_for_news(struct supervision *s)
{
    struct relay *relays[] = {&s->in, &s->out, &s->err};
    struct pollfd fds[7] = {{.fd = s->signals, .events = POLLIN}};
    nfds_t count = 1;
    for (size_t i = 0; i < 3; i++) {
        if (s->phase != FLUSHING && relay_wants_in(relays[i]) != 0)
            fds[count++] = (struct pollfd){.fd = relays[i]->from, .events = POLLIN};
        if (relay_wants_out(relays[i]) != 0 && (s->phase != FLUSHING || i > 0))
            fds[count++] = (struct pollfd){.fd = relays[i]->to, .events = POLLOUT};
    }
    os_wait(fds, count, time_to_next(s));
}

/* Takes what the ended child left in a stream, but does not wait for what others may still write. */
static void drain(struct relay *relay, uint64_t *drained)
{
    while (relay_is_open(relay) && *drained < DRAIN_MAX) {
        relay_write(relay);
        if (relay_wants_in(relay) == 0)
            return; /* full, and the client does not read: come back later */
        size_t got = relay_read(relay);
        *drained = got == 0 ? DRAIN_MAX : *drained + got;
    }
    relay_write(relay);
}

static void flush(struct supervision *s)
{
    s->out.hold = false;
    drain(&s->out, &s->drained[0]);
    drain(&s->err, &s->drained[1]);
    if (relay_is_empty(&s->out) && relay_is_empty(&s->err))
        s->phase = FINISHED;
}

/* An answer is only complete when the child has ended. */
static void judge_answer(struct supervision *s)
{
    struct run *run = s->job->run;
    bool exited = WIFEXITED(s->status);
    int code = exited ? WEXITSTATUS(s->status) : -1;
    run->outcome = code == 0 ? "ok" : "error";
    if (run->mode != MODE_HOOK)
        return;
    bool denies = code == 0 && s->out.hold && answer_read(s->out.buffer, s->out.length).is_blocking;
    if (code == 2 || denies)
        run->outcome = "blocked";
}

/* A hook may end without having read its event, or before the client has written it; the record
 * is to name it all the same. What is read here nobody else wants any more. */
static void read_late(struct supervision *s)
{
    struct pollfd ready = {.fd = s->in.from, .events = POLLIN};
    if (!s->tree_empty || !relay_is_open(&s->in))
        return;
    if (s->in.bytes == 0)
        os_wait(&ready, 1, LATE_EVENT_NS);
    for (uint64_t limit = s->in.bytes + LATE_EVENT_MAX; s->in.bytes < limit;) {
        s->in.first = s->in.length = 0;
        size_t got = relay_read(&s->in);
        if (got == 0 || scan_complete(&s->job->event->scan))
            return;
        event_feed(s->job->event, s->in.buffer, got);
    }
}

static void begin_flush(struct supervision *s)
{
    if (s->job->run->mode == MODE_HOOK && !scan_complete(&s->job->event->scan)) {
        read_late(s);
        apply_limits(s);
    }
    while (s->out.hold && relay_read(&s->out) > 0)
        continue;
    judge_answer(s);
    s->phase = FLUSHING;
}

static void supervise(struct supervision *s)
{
    while (s->phase != FINISHED) {
        wait_for_news(s);
        take_signals(s);
        if (s->phase != FLUSHING) {
            pump_stdin(s);
            pump_stdout(s);
            pump_stderr(s);
            reap(s);
            check_clock(s);
        }
        if (s->phase == RUNNING && s->child_ended)
            begin_flush(s);
        if (s->phase == FLUSHING)
            flush(s);
    }
}

/* ---------------------------------------------------------------------------------------- the end */

static void count_leftovers(struct supervision *s)
{
    struct run *run = s->job->run;
    struct text names = text_in(run->leftover_names, sizeof run->leftover_names);
    reap(s);
    if (s->tree_empty)
        return;
    os_list_tree(&tree, 0);
    run->leftovers = tree.count;
    for (size_t i = 0; i < tree.count; i++) {
        char name[64] = "";
        os_process_name(tree.pids[i], name, sizeof name);
        text_add(&names, i == 0 ? "" : ",");
        text_add(&names, name);
    }
}

static void read_usage(struct run *run)
{
    struct rusage usage;
    if (getrusage(RUSAGE_CHILDREN, &usage) != 0)
        return;
    run->user_ns = (uint64_t)usage.ru_utime.tv_sec * 1000000000 + (uint64_t)usage.ru_utime.tv_usec * 1000;
    run->sys_ns = (uint64_t)usage.ru_stime.tv_sec * 1000000000 + (uint64_t)usage.ru_stime.tv_usec * 1000;
    run->rss_peak_bytes = (uint64_t)usage.ru_maxrss * 1024;
    run->disk_read_bytes = (uint64_t)usage.ru_inblock * 512;
    run->disk_write_bytes = (uint64_t)usage.ru_oublock * 512;
    run->ctx_voluntary = (uint64_t)usage.ru_nvcsw;
    run->ctx_involuntary = (uint64_t)usage.ru_nivcsw;
}

static void fill_record(struct supervision *s)
{
    static const char *const outcomes[] = {[BY_TIME] = "timeout",
                                           [BY_MEMORY] = "over_memory",
                                           [BY_SIGNAL] = "cancelled"};
    struct run *run = s->job->run;
    if (s->reason != BY_ITSELF)
        run->outcome = outcomes[s->reason];
    run->exit_code = s->child_ended && WIFEXITED(s->status) ? WEXITSTATUS(s->status) : -1;
    run->signal = s->child_ended && WIFSIGNALED(s->status) ? WTERMSIG(s->status) : 0;
    run->stdin_bytes = s->in.bytes;
    run->stdout_bytes = s->out.bytes;
    run->stderr_bytes = s->err.bytes;
    read_usage(run);
    uint64_t now_ns = monotonic_ns();
    if (s->stop_began_ns != 0)
        run->stop_ns = now_ns - s->stop_began_ns;
    run->wall_ns = now_ns - s->job->started_ns;
    run->overhead_ns = s->spawned_ns - s->job->started_ns;
    if (s->child_ended && s->stop_began_ns == 0)
        run->overhead_ns += now_ns - s->ended_ns;
}

/* Goes on passing streams for what the hook left running, so that it can still write to the
 * client as it could without us. A process of its own: the client waits for ours to exit. */
static void drain_for_leftovers(struct supervision *s)
{
    if (!relay_is_open(&s->out) && !relay_is_open(&s->err))
        return;
    if (fork() != 0)
        return;
    if (s->cgroup >= 0)
        close(s->cgroup);
    s->deadline_ns = s->next_look_ns = UINT64_MAX;
    s->phase = RUNNING;
    while (relay_is_open(&s->out) || relay_is_open(&s->err) || !relay_is_empty(&s->out) ||
           !relay_is_empty(&s->err)) {
        wait_for_news(s);
        while (os_next_signal(s->signals) > 0)
            _exit(0);
        pump_stdin(s);
        pump_stdout(s);
        pump_stderr(s);
    }
    _exit(0);
}

static void write_patiently(int fd, const char *bytes, size_t length)
{
    uint64_t give_up_ns = monotonic_ns() + MESSAGE_MAX_NS;
    for (size_t put = 0; put < length;) {
        struct pollfd ready = {.fd = fd, .events = POLLOUT};
        uint64_t now_ns = monotonic_ns();
        if (now_ns >= give_up_ns || os_wait(&ready, 1, (int64_t)(give_up_ns - now_ns)) <= 0)
            return;
        ssize_t got = write(fd, bytes + put, length - put);
        if (got < 0 && errno != EINTR && errno != EAGAIN)
            return;
        put += got > 0 ? (size_t)got : 0;
    }
}

static void add_limit(struct text *text, const struct run *run, enum reason reason)
{
    if (reason == BY_TIME) {
        text_add(text, "its time limit of ");
        text_number(text, run->limits.timeout_ms);
        text_add(text, " ms (it ran ");
        text_number(text, run->wall_ns / MS);
        text_add(text, " ms");
    } else {
        text_add(text, "its memory limit of ");
        text_number(text, run->limits.memory_bytes >> 20);
        text_add(text, " MB (it used ");
        text_number(text, run->anon_peak_bytes >> 20);
        text_add(text, " MB");
    }
}

/* One line: which hook, which limit, what it used, how to change it. */
static void explain(struct supervision *s)
{
    const struct run *run = s->job->run;
    char buffer[1024];
    struct text text = text_in(buffer, sizeof buffer);
    text_add(&text, "better-claude: stopped the ");
    text_clean(&text, run->event->name, SHOWN_MAX);
    text_add(&text, run->event->name[0] == '\0' ? "hook `" : " hook `");
    text_clean(&text, run->command, SHOWN_MAX);
    text_add(&text, "` at ");
    add_limit(&text, run, s->reason);
    text_add(&text, "). To change it: [hook.\"");
    text_add(&text, run->key);
    text_add(&text, "\"] in contract.toml; see `better-claude contract show`.\n");
    write_patiently(2, text.at, text.length);
}

static void end_stopped(struct supervision *s)
{
    pump_stderr(s);
    if (s->err.length > 0)
        write_patiently(2, s->err.buffer + s->err.first, s->err.length);
    explain(s);
    _exit(s->reason == BY_TIME ? EXIT_TIMEOUT : EXIT_OVER_MEMORY);
}

static void end_as_child(struct supervision *s)
{
    if (s->child_ended && WIFEXITED(s->status))
        _exit(WEXITSTATUS(s->status));
    int signal = s->child_ended ? WTERMSIG(s->status) : SIGTERM;
    os_end_by_signal(signal);
    _exit(128 + signal);
}

static void finish(struct supervision *s)
{
    if (s->reason == BY_ITSELF || s->job->run->mode == MODE_TOOL)
        count_leftovers(s);
    fill_record(s);
    if (s->job->state[0] != '\0')
        write_end(s->job->state, s->job->run);
    if (s->cgroup >= 0)
        os_cgroup_remove(s->job->global->cgroup, s->job->run->id);
    if (s->reason == BY_TIME || s->reason == BY_MEMORY)
        end_stopped(s);
    if (s->reason == BY_ITSELF)
        drain_for_leftovers(s);
    end_as_child(s);
}

/* -------------------------------------------------------------------------------------- the start */

static bool start_child(struct supervision *s)
{
    struct spawn spawn = {
        .plan = s->job->plan,
        .fds = {s->in.child_end, s->out.child_end, s->err.child_end},
        .mask = &s->inherited_mask,
        .ignore_child_death = s->ignore_child_death,
        .cgroup = s->cgroup,
    };
    if (s->out.kind != RELAY_NONE && s->err.kind == RELAY_NONE && same_file(1, 2))
        spawn.fds[2] = s->out.child_end;
    /* The child's own start, up to its first instruction, is not our time. */
    s->spawned_ns = monotonic_ns();
    s->child = os_spawn(&spawn);
    relay_close_child_end(&s->in);
    relay_close_child_end(&s->out);
    relay_close_child_end(&s->err);
    return s->child > 0;
}

static void give_back(struct supervision *s)
{
    struct relay *relays[] = {&s->in, &s->out, &s->err};
    for (size_t i = 0; i < 3; i++) {
        relay_close_child_end(relays[i]);
        relay_drop(relays[i]);
    }
}

void run_job(struct job *job)
{
    static struct supervision s;
    s = (struct supervision){.job = job, .signals = -1, .cgroup = -1};
    bool relayed = job->run->mode == MODE_HOOK;
    s.in = s.out = s.err = (struct relay){.from = -1, .to = -1, .child_end = -1, .ended = true};
    if (!os_adopt_orphans() || !watch_signals(&s) || (relayed && !open_relays(&s))) {
        unwatch_signals(&s);
        give_back(&s);
        return;
    }
    if (relayed)
        read_early(&s);
    if (job->state[0] != '\0')
        write_start(job->state, job->run);
    if (relayed && job->global->cgroup[0] != '\0')
        s.cgroup = os_cgroup_open(job->global->cgroup, job->run->id);
    if (!start_child(&s)) {
        unwatch_signals(&s);
        give_back(&s);
        return;
    }
    s.look_ns = LOOK_NS;
    s.next_look_ns = s.spawned_ns + FIRST_LOOK_NS;
    job->run->processes = 1;
    apply_limits(&s);
    supervise(&s);
    finish(&s);
}
