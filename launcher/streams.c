#include <poll.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "os.h"
#include "supervision.h"

/* The client writes the event as soon as it has started us: this long at most for a hook that is
 * quicker. With ten sessions on two cores 1 ms was too short for 3 of 20 hooks. */
#define LATE_EVENT_NS (10 * MS)
#define LATE_EVENT_MAX ((uint64_t)1 << 20)
/* More than this cannot lie in a stream's kernel buffers when its writer has ended. */
#define DRAIN_MAX ((uint64_t)1 << 20)

#define WAIT_MAX_NS (3600 * 1000 * MS)

static char stdin_buffer[RELAY_MAX], stderr_buffer[RELAY_MAX], stdout_buffer[HELD_MAX];

static bool same_file(int first, int second)
{
    struct stat a, b;
    return fstat(first, &a) == 0 && fstat(second, &b) == 0 && a.st_dev == b.st_dev &&
           a.st_ino == b.st_ino;
}

/* Where stdout and stderr are one (2>&1), one relay keeps the order of what is written. */
bool open_streams(struct supervision *s)
{
    enum relay_kind in = relay_kind_of(0), out = relay_kind_of(1), err = relay_kind_of(2);
    s->one_output = out != RELAY_NONE && same_file(1, 2);
    if (s->one_output)
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
    if (!s->out.hold || s->is_background || s->out.length == 0 || s->out.buffer[0] != '{')
        return;
    const char *end = memchr(s->out.buffer, '\n', s->out.length);
    size_t length = end == NULL ? s->out.length : (size_t)(end - s->out.buffer);
    if (!answer_read(s->out.buffer, length).is_async)
        return;
    s->is_background = true;
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

void close_streams(struct supervision *s)
{
    struct relay *relays[] = {&s->in, &s->out, &s->err};
    for (size_t i = 0; i < 3; i++) {
        relay_close_child_end(relays[i]);
        relay_drop(relays[i]);
    }
}

void pump(struct supervision *s)
{
    pump_stdin(s);
    pump_stdout(s);
    pump_stderr(s);
}

void read_early(struct supervision *s)
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

void flush(struct supervision *s)
{
    s->out.hold = false;
    drain(&s->out, &s->drained_out);
    drain(&s->err, &s->drained_err);
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

void begin_flush(struct supervision *s)
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

static int64_t time_to_next(const struct supervision *s)
{
    if (s->phase == FLUSHING)
        return INT64_MAX;
    uint64_t next = s->next_look_ns < s->deadline_ns ? s->next_look_ns : s->deadline_ns;
    if (s->phase == STOPPING && s->grace_ends_ns < next)
        next = s->grace_ends_ns;
    uint64_t now_ns = monotonic_ns();
    if (next <= now_ns)
        return 0;
    /* A policy may name times that no clock reaches. */
    return next - now_ns < WAIT_MAX_NS ? (int64_t)(next - now_ns) : (int64_t)WAIT_MAX_NS;
}

void wait_for_news(struct supervision *s)
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

/* Goes on passing streams for what the hook left running, so that it can still write to the
 * client as it could without us. A process of its own: the client waits for ours to exit. */
void serve_leftovers(struct supervision *s)
{
    if (!relay_is_open(&s->out) && !relay_is_open(&s->err))
        return;
    if (fork() != 0)
        return;
    s->deadline_ns = s->next_look_ns = NEVER;
    while (relay_is_open(&s->out) || relay_is_open(&s->err) || !relay_is_empty(&s->out) ||
           !relay_is_empty(&s->err)) {
        wait_for_news(s);
        while (os_next_signal(s->signals) > 0)
            _exit(0);
        pump(s);
    }
    _exit(0);
}
