#include "event.h"

#include <string.h>

enum {
    AT_START,       /* before the opening brace */
    AT_NAME,        /* in an object, before a name */
    AT_COLON,       /* after a name */
    AT_VALUE,       /* before a value */
    IN_STRING,      /* inside a name or a value that is a string */
    IN_ESCAPE,      /* after a backslash */
    IN_UNICODE,     /* inside \uXXXX */
    IN_LITERAL,     /* inside a number, true, false or null */
    AFTER_VALUE,    /* before a comma or a closing bracket */
    IN_DEEP,        /* below what we look at: only brackets and strings count */
    IN_DEEP_STRING,
    IN_DEEP_ESCAPE,
    AT_END,
    BROKEN,
};

void scan_init(struct scan *scan, scan_found *found, void *context)
{
    memset(scan, 0, sizeof *scan);
    scan->found = found;
    scan->context = context;
    scan->state = AT_START;
}

bool scan_complete(const struct scan *scan)
{
    return scan->state == AT_END;
}

static bool is_space(char c)
{
    return c == ' ' || c == '\t' || c == '\n' || c == '\r';
}

static void keep_byte(struct scan *scan, char c)
{
    if (scan->is_key) {
        if (scan->key_length < SCAN_KEY_MAX)
            scan->key[scan->key_length++] = c;
        else
            scan->cut = true; /* too long to be one of ours, whatever its beginning */
    } else if (scan->value_length < SCAN_VALUE_MAX) {
        scan->value[scan->value_length++] = c;
    }
}

static void keep_rune(struct scan *scan, uint32_t rune)
{
    if (rune < 0x80) {
        keep_byte(scan, (char)rune);
        return;
    }
    int more = rune < 0x800 ? 1 : rune < 0x10000 ? 2 : 3;
    static const unsigned char lead[] = {0, 0xC0, 0xE0, 0xF0};
    keep_byte(scan, (char)(lead[more] | rune >> (6 * more)));
    while (more-- > 0)
        keep_byte(scan, (char)(0x80 | (rune >> (6 * more) & 0x3F)));
}

/* A high surrogate that no low one follows is no character. */
static void flush_surrogate(struct scan *scan)
{
    if (scan->high_surrogate != 0)
        keep_rune(scan, 0xFFFD);
    scan->high_surrogate = 0;
}

static void keep_unit(struct scan *scan, uint32_t unit)
{
    if (unit >= 0xDC00 && unit <= 0xDFFF && scan->high_surrogate != 0) {
        uint32_t high = scan->high_surrogate;
        scan->high_surrogate = 0;
        keep_rune(scan, 0x10000 + ((high - 0xD800) << 10) + (unit - 0xDC00));
        return;
    }
    flush_surrogate(scan);
    if (unit >= 0xD800 && unit <= 0xDBFF)
        scan->high_surrogate = unit;
    else
        /* A NUL would end our texts early. */
        keep_rune(scan, unit == 0 || (unit >= 0xDC00 && unit <= 0xDFFF) ? 0xFFFD : unit);
}

static void begin_string(struct scan *scan, bool is_key)
{
    scan->is_key = is_key;
    scan->high_surrogate = 0;
    if (is_key) {
        scan->key_length = 0;
        scan->cut = false;
    } else {
        scan->value_length = 0;
    }
    scan->state = IN_STRING;
}

static void report(struct scan *scan, bool is_string)
{
    scan->value[scan->value_length] = '\0';
    if (!scan->cut)
        scan->found(scan->context, scan->inside_outer ? scan->outer : NULL, scan->key, scan->value,
                    is_string);
}

static void end_string(struct scan *scan)
{
    flush_surrogate(scan);
    if (scan->is_key) {
        scan->key[scan->key_length] = '\0';
        scan->state = AT_COLON;
        return;
    }
    report(scan, true);
    scan->state = AFTER_VALUE;
}

/* Enters an object or array that stands as a value. */
static void open_container(struct scan *scan, char bracket)
{
    scan->depth++;
    if (bracket == '{' && scan->depth == 2 && !scan->cut) {
        memcpy(scan->outer, scan->key, sizeof scan->outer);
        scan->inside_outer = true;
        scan->state = AT_NAME;
    } else {
        scan->state = IN_DEEP;
    }
}

static void close_container(struct scan *scan)
{
    scan->depth--;
    scan->inside_outer = scan->inside_outer && scan->depth >= 2;
    bool shallow = scan->depth <= 1 || (scan->depth == 2 && scan->inside_outer);
    scan->state = scan->depth == 0 ? AT_END : shallow ? AFTER_VALUE : IN_DEEP;
}

static void step_deep(struct scan *scan, char c)
{
    if (c == '"')
        scan->state = IN_DEEP_STRING;
    else if (c == '{' || c == '[')
        scan->depth += scan->depth < UINT32_MAX;
    else if (c == '}' || c == ']')
        close_container(scan);
}

static void step_unicode(struct scan *scan, char c)
{
    uint32_t digit = c >= '0' && c <= '9'   ? (uint32_t)(c - '0')
                     : c >= 'a' && c <= 'f' ? (uint32_t)(c - 'a' + 10)
                     : c >= 'A' && c <= 'F' ? (uint32_t)(c - 'A' + 10)
                                            : 16;
    if (digit == 16) {
        scan->state = BROKEN;
        return;
    }
    scan->escape_value = scan->escape_value << 4 | digit;
    if (++scan->escape_digits == 4) {
        keep_unit(scan, scan->escape_value);
        scan->state = IN_STRING;
    }
}

static void step_escape(struct scan *scan, char c)
{
    static const char names[] = "\"\\/bfnrt", meanings[] = "\"\\/\b\f\n\r\t";
    const char *name = c == '\0' ? NULL : strchr(names, c);
    if (c == 'u') {
        scan->escape_digits = scan->escape_value = 0;
        scan->state = IN_UNICODE;
    } else if (name == NULL) {
        scan->state = BROKEN;
    } else {
        flush_surrogate(scan);
        keep_byte(scan, meanings[name - names]);
        scan->state = IN_STRING;
    }
}

static void step_string(struct scan *scan, char c)
{
    if (c == '"') {
        end_string(scan);
    } else if (c == '\\') {
        scan->state = IN_ESCAPE;
    } else {
        flush_surrogate(scan);
        keep_byte(scan, c == '\0' ? ' ' : c);
    }
}

static void step_value(struct scan *scan, char c)
{
    if (c == '"') {
        begin_string(scan, false);
    } else if (c == '{' || c == '[') {
        open_container(scan, c);
    } else if (c == '-' || (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z')) {
        scan->is_key = false;
        scan->value_length = 0;
        keep_byte(scan, c);
        scan->state = IN_LITERAL;
    } else {
        scan->state = BROKEN;
    }
}

static void step_after(struct scan *scan, char c)
{
    if (c == ',')
        scan->state = AT_NAME;
    else if (c == '}')
        close_container(scan);
    else
        scan->state = BROKEN;
}

static void step_literal(struct scan *scan, char c)
{
    if (c == ',' || c == '}' || is_space(c)) {
        report(scan, false);
        scan->state = AFTER_VALUE;
        if (!is_space(c))
            step_after(scan, c);
    } else {
        keep_byte(scan, c == '\0' ? ' ' : c);
    }
}

static void step_name(struct scan *scan, char c)
{
    if (c == '"')
        begin_string(scan, true);
    else if (c == '}')
        close_container(scan);
    else
        scan->state = BROKEN;
}

static void step(struct scan *scan, char c)
{
    switch (scan->state) {
    case IN_STRING:
        step_string(scan, c);
        return;
    case IN_ESCAPE:
        step_escape(scan, c);
        return;
    case IN_UNICODE:
        step_unicode(scan, c);
        return;
    case IN_LITERAL:
        step_literal(scan, c);
        return;
    case IN_DEEP:
        step_deep(scan, c);
        return;
    case IN_DEEP_STRING:
        scan->state = c == '"' ? IN_DEEP : c == '\\' ? IN_DEEP_ESCAPE : IN_DEEP_STRING;
        return;
    case IN_DEEP_ESCAPE:
        scan->state = IN_DEEP_STRING;
        return;
    default:
        break;
    }
    if (is_space(c))
        return;
    switch (scan->state) {
    case AT_START:
        scan->depth = 1;
        scan->state = c == '{' ? AT_NAME : BROKEN;
        return;
    case AT_NAME:
        step_name(scan, c);
        return;
    case AT_COLON:
        scan->state = c == ':' ? AT_VALUE : BROKEN;
        return;
    case AT_VALUE:
        step_value(scan, c);
        return;
    default:
        step_after(scan, c);
        return;
    }
}

/* A tool's input can be megabytes in one string: look for its end without a step for each byte. */
static size_t skip_deep_string(const char *bytes, size_t length)
{
    size_t i = 0;
    while (i < length && bytes[i] != '"' && bytes[i] != '\\')
        i++;
    return i;
}

bool scan_feed(struct scan *scan, const char *bytes, size_t length)
{
    for (size_t i = 0; i < length && scan->state < AT_END; i++) {
        if (scan->state == IN_DEEP_STRING)
            i += skip_deep_string(bytes + i, length - i);
        if (i < length)
            step(scan, bytes[i]);
    }
    return scan->state < AT_END;
}

static void event_found(void *context, const char *outer, const char *name, const char *value,
                        bool is_string)
{
    struct event *event = context;
    if (outer != NULL)
        return;
    if (strcmp(name, "jsonrpc") == 0)
        event->is_jsonrpc = true;
    const struct {
        const char *name;
        char *text;
    } members[] = {
        {"hook_event_name", event->name}, {"session_id", event->session},
        {"tool_name", event->tool},       {"tool_use_id", event->tool_use},
        {"prompt_id", event->prompt},     {"agent_id", event->agent},
        {"agent_type", event->agent_type},
    };
    for (size_t i = 0; is_string && i < sizeof members / sizeof *members; i++)
        if (strcmp(name, members[i].name) == 0)
            memcpy(members[i].text, value, strlen(value) + 1);
}

void event_init(struct event *event)
{
    memset(event, 0, sizeof *event);
    scan_init(&event->scan, event_found, event);
}

void event_feed(struct event *event, const char *bytes, size_t length)
{
    scan_feed(&event->scan, bytes, length);
}

static void answer_found(void *context, const char *outer, const char *name, const char *value,
                         bool is_string)
{
    struct answer *answer = context;
    bool top = outer == NULL;
    if (!is_string) {
        answer->is_async |= top && strcmp(name, "async") == 0 && strcmp(value, "true") == 0;
        answer->is_blocking |= top && strcmp(name, "continue") == 0 && strcmp(value, "false") == 0;
        return;
    }
    bool specific = !top && strcmp(outer, "hookSpecificOutput") == 0;
    answer->is_blocking |= top && strcmp(name, "decision") == 0 && strcmp(value, "block") == 0;
    answer->is_blocking |=
        specific && strcmp(name, "permissionDecision") == 0 && strcmp(value, "deny") == 0;
}

struct answer answer_read(const char *bytes, size_t length)
{
    struct answer answer = {0};
    struct scan scan;
    scan_init(&scan, answer_found, &answer);
    while (length > 0 && is_space(bytes[length - 1]))
        length--;
    /* An answer that comes in many pieces is read once, not once a piece. */
    if (length == 0 || bytes[length - 1] != '}')
        return answer;
    /* The object has to end where the text does: the client reads anything else as plain text. */
    scan_feed(&scan, bytes, length - 1);
    bool ended_early = scan_complete(&scan);
    scan_feed(&scan, bytes + length - 1, 1);
    answer.is_object = scan_complete(&scan) && !ended_early;
    return answer.is_object ? answer : (struct answer){0};
}
