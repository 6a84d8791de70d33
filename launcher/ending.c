#include <errno.h>
#include <limits.h>
#include <poll.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include "os.h"
#include "supervision.h"
#include "text.h"

/* How long a client that does not read may delay the message of a stopped hook. */
#define MESSAGE_MAX_NS (100 * MS)
/* Of the command, in the line that a stopped hook prints. */
#define SHOWN_MAX 100
#define EXIT_TIMEOUT 124
#define EXIT_OVER_MEMORY 125

static struct tree tree;

static void count_leftovers(struct supervision *s)
{
    struct run *run = s->job->run;
    struct text names = text_in(run->leftover_names, sizeof run->leftover_names);
    if (s->tree_empty)
        return;
    reap(s); /* a zombie is not left running */
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
    run->rss_peak_bytes = (uint64_t)usage.ru_maxrss * MAXRSS_UNIT;
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

static void write_patiently(int fd, const char *bytes, size_t length)
{
    uint64_t give_up_ns = monotonic_ns() + MESSAGE_MAX_NS;
    for (size_t put = 0; put < length;) {
        struct pollfd ready = {.fd = fd, .events = POLLOUT};
        uint64_t now_ns = monotonic_ns();
        if (now_ns >= give_up_ns || os_wait(&ready, 1, (int64_t)(give_up_ns - now_ns)) <= 0)
            return;
        /* As much as a pipe that polls writable takes at once (pipe(7)). */
        size_t part = length - put > PIPE_BUF ? PIPE_BUF : length - put;
        ssize_t got = write(fd, bytes + put, part);
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

static _Noreturn void end_stopped(struct supervision *s)
{
    relay_read(&s->err);
    if (s->err.length > 0)
        write_patiently(2, s->err.buffer + s->err.first, s->err.length);
    explain(s);
    _exit(s->reason == BY_TIME ? EXIT_TIMEOUT : EXIT_OVER_MEMORY);
}

static _Noreturn void end_as_child(struct supervision *s)
{
    if (s->child_ended && WIFEXITED(s->status))
        _exit(WEXITSTATUS(s->status));
    int signal = s->child_ended ? WTERMSIG(s->status) : SIGTERM;
    os_end_by_signal(signal);
    _exit(128 + signal);
}

/* Without us, what a cancelled hook had written would have been written. */
static void write_remains(struct supervision *s)
{
    s->out.hold = false;
    relay_write(&s->out);
    relay_write(&s->err);
}

_Noreturn void finish(struct supervision *s)
{
    if (s->reason == BY_ITSELF || s->job->run->mode == MODE_TOOL)
        count_leftovers(s);
    fill_record(s);
    if (s->job->state[0] != '\0')
        write_end(s->job->state, s->job->run);
    close_cgroup(s);
    if (s->reason == BY_TIME || s->reason == BY_MEMORY)
        end_stopped(s);
    if (s->reason == BY_SIGNAL)
        write_remains(s);
    else
        serve_leftovers(s);
    end_as_child(s);
}
