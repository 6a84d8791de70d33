/* Reads what the launcher must know of two JSON texts that pass through it: the client's event on
 * stdin, and the hook's answer on stdout. Pure functions over bytes, in any chunks; no allocation;
 * safe on hostile input (fuzzed). */
#ifndef EVENT_H
#define EVENT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define SCAN_KEY_MAX 32    /* longer names are none of ours */
#define SCAN_VALUE_MAX 260 /* longer values are cut; a record keeps 256, so that a half character is never the last */

/* Called for each member at depth 1 and for each member of an object that is itself a member at
 * depth 1 (then `outer` is its name, else NULL). Strings come unescaped, as UTF-8; numbers and
 * literals as written. */
typedef void scan_found(void *context, const char *outer, const char *name, const char *value,
                        bool is_string);

/* A JSON object, read as it arrives. */
struct scan {
    scan_found *found;
    void *context;
    uint32_t depth;
    uint32_t escape_digits, escape_value, high_surrogate;
    uint16_t value_length;
    uint8_t state, key_length, outer_length;
    bool is_key, is_kept, cut, inside_outer;
    char key[SCAN_KEY_MAX + 1], outer[SCAN_KEY_MAX + 1], value[SCAN_VALUE_MAX + 1];
};

void scan_init(struct scan *scan, scan_found *found, void *context);
/* Reads on; returns false once the object has ended or the text is no object. */
bool scan_feed(struct scan *scan, const char *bytes, size_t length);
bool scan_complete(const struct scan *scan);

/* What a hook is told on stdin; each text "" until it has arrived. */
struct event {
    struct scan scan;
    bool is_jsonrpc; /* a member that MCP messages have and hook events have not */
    char name[SCAN_VALUE_MAX + 1], session[SCAN_VALUE_MAX + 1], tool[SCAN_VALUE_MAX + 1];
    char tool_use[SCAN_VALUE_MAX + 1], prompt[SCAN_VALUE_MAX + 1], agent[SCAN_VALUE_MAX + 1];
    char agent_type[SCAN_VALUE_MAX + 1];
};

void event_init(struct event *event);
void event_feed(struct event *event, const char *bytes, size_t length);

/* What a hook answers on stdout. */
struct answer {
    bool is_object;   /* one whole JSON object stood there */
    bool is_async;    /* "async": true: the client goes on without waiting */
    bool is_blocking; /* it denies or blocks */
};

struct answer answer_read(const char *bytes, size_t length);

#endif
