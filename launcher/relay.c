#include "relay.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <poll.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include "os.h"

#ifndef MSG_NOSIGNAL
#define MSG_NOSIGNAL 0 /* SIGPIPE is blocked anyway */
#endif

enum relay_kind relay_kind_of(int fd)
{
    struct stat status;
    if (fstat(fd, &status) != 0)
        return RELAY_NONE;
    return S_ISSOCK(status.st_mode) ? RELAY_SOCKET : S_ISFIFO(status.st_mode) ? RELAY_PIPE : RELAY_NONE;
}

static void close_fd(int *fd)
{
    if (*fd > 2) /* the standard streams themselves are not ours to close */
        close(*fd);
    *fd = -1;
}

/* `pair` is read at [0] and written at [1]. */
static bool open_pair(enum relay_kind kind, int pair[2])
{
    return kind == RELAY_PIPE ? os_pipe(pair) : os_socket_pair(pair);
}

bool relay_open(struct relay *relay, int fd, enum relay_kind kind, char *buffer, size_t capacity)
{
    int pair[2];
    *relay = RELAY_CLOSED;
    if (kind == RELAY_NONE)
        return true;
    if (!open_pair(kind, pair))
        return false;
    relay->kind = kind;
    bool is_stdin = fd == 0;
    int ours = is_stdin ? pair[1] : pair[0];
    relay->ended = false;
    relay->from_is_client = is_stdin;
    relay->child_end = is_stdin ? pair[0] : pair[1];
    relay->from = is_stdin ? fd : ours;
    relay->to = is_stdin ? ours : fd;
    relay->buffer = buffer;
    relay->capacity = capacity;
    if (kind == RELAY_PIPE && fcntl(ours, F_SETFL, O_NONBLOCK) != 0) {
        relay_close_child_end(relay);
        relay_drop(relay);
        return false;
    }
    return true;
}

void relay_close_child_end(struct relay *relay)
{
    close_fd(&relay->child_end);
}

bool relay_is_open(const struct relay *relay)
{
    return relay->kind != RELAY_NONE && !relay->ended && !relay->broken;
}

bool relay_is_empty(const struct relay *relay)
{
    return relay->length == 0 || relay->broken;
}

void relay_drop(struct relay *relay)
{
    relay->length = relay->first = 0;
    relay->broken = true;
    close_fd(&relay->from);
    close_fd(&relay->to);
}

short relay_wants_in(const struct relay *relay)
{
    return relay_is_open(relay) && relay->first + relay->length < relay->capacity ? POLLIN : 0;
}

short relay_wants_out(const struct relay *relay)
{
    return relay->kind != RELAY_NONE && !relay_is_empty(relay) && !relay->hold ? POLLOUT : 0;
}

static bool is_ready(int fd, short events)
{
    struct pollfd ready = {.fd = fd, .events = events};
    return poll(&ready, 1, 0) == 1;
}

/* The client's own descriptors may be shared with it: their flags are left alone, and a pipe of
 * the client's is asked first whether it would make us wait. */
static ssize_t read_some(const struct relay *relay, char *to, size_t room)
{
    if (relay->kind == RELAY_SOCKET)
        return recv(relay->from, to, room, MSG_DONTWAIT);
    if (relay->from_is_client && !is_ready(relay->from, POLLIN)) {
        errno = EAGAIN;
        return -1;
    }
    return read(relay->from, to, room);
}

static ssize_t write_some(const struct relay *relay, const char *from, size_t length)
{
    if (relay->kind == RELAY_SOCKET)
        return send(relay->to, from, length, MSG_DONTWAIT | MSG_NOSIGNAL);
    if (!relay->from_is_client) {
        if (!is_ready(relay->to, POLLOUT)) {
            errno = EAGAIN;
            return -1;
        }
        /* A pipe that polls writable takes this much at once (pipe(7)). */
        length = length > PIPE_BUF ? PIPE_BUF : length;
    }
    return write(relay->to, from, length);
}

/* Nothing more will come: once all is written, the reader is told so. */
static void finish_if_done(struct relay *relay)
{
    if (!relay->ended || relay->length > 0 || !relay->from_is_client)
        return;
    close_fd(&relay->to);
}

size_t relay_read(struct relay *relay)
{
    if (relay_wants_in(relay) == 0)
        return 0;
    size_t end = relay->first + relay->length;
    ssize_t got = read_some(relay, relay->buffer + end, relay->capacity - end);
    if (got > 0) {
        relay->length += (size_t)got;
        relay->bytes += (uint64_t)got;
        return (size_t)got;
    }
    if (got == 0 || (errno != EAGAIN && errno != EINTR)) {
        relay->ended = true;
        close_fd(&relay->from);
        finish_if_done(relay);
    }
    return 0;
}

void relay_write(struct relay *relay)
{
    while (relay_wants_out(relay) != 0) {
        ssize_t put = write_some(relay, relay->buffer + relay->first, relay->length);
        if (put < 0 && errno == EINTR)
            continue;
        if (put < 0 && errno == EAGAIN)
            return;
        if (put < 0) {
            /* As without us, the writer learns that nobody reads any more. */
            relay_drop(relay);
            return;
        }
        relay->first += (size_t)put;
        relay->length -= (size_t)put;
        if (relay->length == 0)
            relay->first = 0;
    }
    finish_if_done(relay);
}
