/* Passes one standard stream between the client and the child. */
#ifndef RELAY_H
#define RELAY_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Largest answer that is held back until the run ends; longer ones stream. */
#define HELD_MAX ((size_t)1 << 20)
#define RELAY_MAX ((size_t)64 << 10)

enum relay_kind {
    RELAY_NONE,   /* a terminal, a file, /dev/null or nothing: the child inherits it */
    RELAY_SOCKET, /* the child gets an end of a socket pair, as the client gave us one */
    RELAY_PIPE,
};

/* Owns `from`, `to` and `child_end` as long as they are not -1, and what lies in the buffer. */
struct relay {
    enum relay_kind kind;
    bool from_is_client; /* stdin; else the child writes and the client reads */
    bool hold;           /* keep everything until released */
    bool ended;          /* nothing more will come */
    bool broken;         /* nobody reads any more */
    int from, to, child_end;
    char *buffer;
    size_t capacity, first, length;
    uint64_t bytes; /* all that has come in */
};

/* A stream that nobody passes on. */
#define RELAY_CLOSED ((struct relay){.from = -1, .to = -1, .child_end = -1, .ended = true})

enum relay_kind relay_kind_of(int fd);
/* Makes the child's end of `fd` (0, 1 or 2); false if the system has no more of it. */
bool relay_open(struct relay *relay, int fd, enum relay_kind kind, char *buffer, size_t capacity);
void relay_close_child_end(struct relay *relay);

/* What to wait for; 0 if nothing. */
short relay_wants_in(const struct relay *relay);
short relay_wants_out(const struct relay *relay);

/* Reads what is there, at most once; returns the number of new bytes, which end the buffer. */
size_t relay_read(struct relay *relay);
/* Writes what the other side takes without making us wait. */
void relay_write(struct relay *relay);

void relay_drop(struct relay *relay);
bool relay_is_open(const struct relay *relay);
bool relay_is_empty(const struct relay *relay);

#endif
