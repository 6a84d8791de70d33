#include "policy.h"

#include <fcntl.h>
#include <fnmatch.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "builtin.h"
#include "text.h"

#define CRC_DIGITS 8
#define NO_LINE ((struct line){0})

/* One statement: `verb scope name settings`, without its checksum. */
struct line {
    const char *at;
    size_t length;
};

/* The settings that a line can state; `has` says which ones it does. */
struct terms {
    struct limits limits;
    bool has_timeout, has_memory, has_mode;
    bool is_users; /* the user brought the hook: no project may touch it */
};

struct policy policy_load(const char *path, char *buffer, size_t capacity)
{
    struct policy none = {.text = buffer};
    /* Whatever stands at that path, opening it must not make us wait. */
    int file = openat(AT_FDCWD, path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    if (file < 0)
        return none;
    struct stat status;
    size_t length = 0;
    bool usable = fstat(file, &status) == 0 && S_ISREG(status.st_mode);
    while (usable && length < capacity) {
        ssize_t got = read(file, buffer + length, capacity - length);
        if (got <= 0)
            break;
        length += (size_t)got;
        if (length >= (size_t)status.st_size)
            break;
    }
    close(file);
    return length == capacity ? none : (struct policy){.text = buffer, .length = length};
}

/* Takes the next line off `rest`; false at the end. */
static bool next_line(struct policy *rest, struct line *line)
{
    if (rest->length == 0)
        return false;
    const char *end = memchr(rest->text, '\n', rest->length);
    line->at = rest->text;
    line->length = end == NULL ? rest->length : (size_t)(end - rest->text);
    size_t used = line->length + (end != NULL);
    rest->text += used;
    rest->length -= used;
    return true;
}

static bool starts_with(struct line line, const char *prefix)
{
    size_t length = strlen(prefix);
    return line.length >= length && memcmp(line.at, prefix, length) == 0;
}

/* Checks a line's checksum and takes it off; only lines that are used pay for it. */
static bool take_checksum(struct line *line)
{
    const size_t tail = 2 + CRC_DIGITS;
    if (line->length < tail)
        return false;
    size_t length = line->length - tail;
    char digits[CRC_DIGITS + 1];
    struct text expected = text_in(digits, sizeof digits);
    text_hex(&expected, crc32_of(line->at, length), CRC_DIGITS);
    if (memcmp(line->at + length, " *", 2) != 0 ||
        memcmp(line->at + length + 2, digits, CRC_DIGITS) != 0)
        return false;
    line->length = length;
    return true;
}

/* Takes the next field, up to a space, off `line`. */
static struct line next_field(struct line *line)
{
    const char *space = line->length == 0 ? NULL : memchr(line->at, ' ', line->length);
    struct line field = {line->at, space == NULL ? line->length : (size_t)(space - line->at)};
    size_t used = field.length + (space != NULL);
    line->at += used;
    line->length -= used;
    return field;
}

static bool equals(struct line field, const char *string)
{
    return field.length == strlen(string) && memcmp(field.at, string, field.length) == 0;
}

/* Returns the value of `name=value`, or an empty line. */
static struct line value_of(struct line field, const char *name)
{
    size_t length = strlen(name);
    if (field.length <= length || !starts_with(field, name) || field.at[length] != '=')
        return NO_LINE;
    return (struct line){field.at + length + 1, field.length - length - 1};
}

static int hex_digit(char c)
{
    return c >= '0' && c <= '9' ? c - '0' : c >= 'a' && c <= 'f' ? c - 'a' + 10
           : c >= 'A' && c <= 'F' ? c - 'A' + 10 : -1;
}

/* Undoes %20 and its like; false if it does not fit or is malformed. */
static bool decode(struct line field, char *out, size_t capacity)
{
    size_t used = 0;
    for (size_t i = 0; i < field.length; i++) {
        if (used + 1 >= capacity)
            return false;
        char c = field.at[i];
        if (c == '%') {
            bool whole = field.length - i > 2;
            int high = whole ? hex_digit(field.at[i + 1]) : -1;
            int low = whole ? hex_digit(field.at[i + 2]) : -1;
            if (high < 0 || low < 0)
                return false;
            c = (char)(high << 4 | low);
            i += 2;
        }
        out[used++] = c;
    }
    out[used] = '\0';
    return true;
}

static void read_setting(struct terms *terms, struct line field)
{
    uint64_t number;
    struct line value = value_of(field, "timeout_ms");
    if (number_from(value.at, value.length, &number)) {
        terms->limits.timeout_ms = number;
        terms->has_timeout = true;
    }
    value = value_of(field, "memory_bytes");
    if (number_from(value.at, value.length, &number)) {
        terms->limits.memory_bytes = number;
        terms->has_memory = true;
    }
    value = value_of(field, "mode");
    if (equals(value, "enforce") || equals(value, "observe")) {
        terms->limits.enforce = equals(value, "enforce");
        terms->has_mode = true;
    }
    terms->is_users |= equals(value_of(field, "owner"), "user");
}

static struct terms read_terms(struct line line)
{
    struct terms terms = {0};
    while (line.length > 0)
        read_setting(&terms, next_field(&line));
    return terms;
}

/* Fills what `terms` leaves open from `other`. */
static void complete(struct terms *terms, struct terms other)
{
    if (!terms->has_timeout && other.has_timeout)
        terms->limits.timeout_ms = other.limits.timeout_ms;
    if (!terms->has_memory && other.has_memory)
        terms->limits.memory_bytes = other.limits.memory_bytes;
    if (!terms->has_mode && other.has_mode)
        terms->limits.enforce = other.limits.enforce;
    terms->has_timeout |= other.has_timeout;
    terms->has_memory |= other.has_memory;
    terms->has_mode |= other.has_mode;
    terms->is_users |= other.is_users;
}

/* Takes the tighter of two limits, of which 0 is none. */
static void tighten_limit(uint64_t *limit, bool *has, uint64_t other, bool has_other)
{
    if (!has_other || other == 0 || (*has && *limit != 0 && *limit <= other))
        return;
    *limit = other;
    *has = true;
}

/* Makes `terms` as tight as `other`, setting by setting; nothing becomes looser. */
static void tighten(struct terms *terms, struct terms other)
{
    struct limits *own = &terms->limits;
    tighten_limit(&own->timeout_ms, &terms->has_timeout, other.limits.timeout_ms, other.has_timeout);
    tighten_limit(&own->memory_bytes, &terms->has_memory, other.limits.memory_bytes, other.has_memory);
    if (other.has_mode && other.limits.enforce)
        own->enforce = terms->has_mode = true;
}

/* What the policy says of one subject, most specific first within each scope. */
struct verdict {
    struct terms hook, match, event, other_events;
};

/* Who said it: the user, whose last line wins, or a project, which only tightens. */
enum authority { USER, PROJECT };

static void read_line(struct verdict *verdict, struct line line, const struct subject *subject,
                      enum authority authority)
{
    char pattern[POLICY_PATTERN_MAX];
    struct line whole = line;
    struct line verb = next_field(&line);
    next_field(&line); /* the scope */
    struct line name = next_field(&line);
    bool is_hook = equals(verb, "hook") && equals(name, subject->key);
    bool is_event = equals(verb, "event") && equals(name, subject->event);
    bool is_other = equals(verb, "event") && equals(name, "*");
    bool is_match = equals(verb, "match") && decode(name, pattern, sizeof pattern) &&
                    fnmatch(pattern, subject->command, FNM_NOESCAPE) == 0;
    if (!(is_hook || is_event || is_other || is_match) || !take_checksum(&whole))
        return;
    size_t used = (size_t)(line.at - whole.at);
    line.length = whole.length > used ? whole.length - used : 0;
    struct terms terms = read_terms(line);
    struct terms *place = is_hook    ? &verdict->hook
                          : is_event ? &verdict->event
                          : is_other ? &verdict->other_events
                                     : &verdict->match;
    if (authority == PROJECT && (is_hook || is_match)) {
        tighten(place, terms);
        return;
    }
    /* The last line wins, setting by setting. */
    complete(&terms, *place);
    *place = terms;
}

static bool in_scope(struct line line, const char *scope)
{
    next_field(&line);
    return equals(next_field(&line), scope);
}

static bool may_concern(struct line line)
{
    return starts_with(line, "hook ") || starts_with(line, "match ") || starts_with(line, "event ");
}

static bool states_anything(struct terms terms)
{
    return terms.has_timeout || terms.has_memory || terms.has_mode;
}

struct limits policy_limits(const struct policy *policy, const struct subject *subject)
{
    struct verdict own = {0}, project = {0};
    struct policy rest = *policy;
    struct line line;
    while (next_line(&rest, &line)) {
        if (!may_concern(line))
            continue;
        if (in_scope(line, "-"))
            read_line(&own, line, subject, USER);
        else if (subject->project[0] != '\0' && in_scope(line, subject->project))
            read_line(&project, line, subject, PROJECT);
    }
    /* A guard that a cloned repository could tighten to a millisecond would let everything through. */
    if (own.hook.is_users)
        project = (struct verdict){0};
    struct terms terms = own.hook;
    complete(&terms, own.match);
    complete(&terms, project.event);
    complete(&terms, own.event);
    /* `*` is for events without a line of their own, so that a project's `*` loosens none. */
    if (!states_anything(project.event) && !states_anything(own.event)) {
        complete(&terms, project.other_events);
        complete(&terms, own.other_events);
    }
    struct terms built_in = {
        .limits = {builtin_timeout_ms(subject->event), BUILTIN_MEMORY_BYTES, BUILTIN_ENFORCE},
        .has_timeout = true,
        .has_memory = true,
        .has_mode = true,
    };
    complete(&terms, built_in);
    /* A line over hooks has no event, so only here can it be compared with what holds otherwise. */
    tighten(&terms, project.match);
    tighten(&terms, project.hook);
    return terms.limits;
}

static void read_global(struct policy_global *global, struct line field)
{
    uint64_t number;
    struct line value = value_of(field, "grace_ms");
    if (number_from(value.at, value.length, &number))
        global->grace_ms = number;
    value = value_of(field, "background_ms");
    if (number_from(value.at, value.length, &number))
        global->background_ms = number;
    value = value_of(field, "autostart");
    if (number_from(value.at, value.length, &number))
        global->autostart = number != 0;
    value = value_of(field, "cgroup");
    if (value.length > 0 && !decode(value, global->cgroup, sizeof global->cgroup))
        global->cgroup[0] = '\0';
    value = value_of(field, "cgroup_from");
    if (value.length > 0 && !decode(value, global->cgroup_from, sizeof global->cgroup_from))
        global->cgroup[0] = '\0';
}

struct policy_global policy_global(const struct policy *policy)
{
    struct policy_global global = {
        .grace_ms = BUILTIN_GRACE_MS,
        .background_ms = BUILTIN_BACKGROUND_MS,
        .autostart = BUILTIN_AUTOSTART,
    };
    struct policy rest = *policy;
    struct line line;
    while (next_line(&rest, &line)) {
        if (!starts_with(line, "global ") || !take_checksum(&line))
            continue;
        next_field(&line);
        while (line.length > 0)
            read_global(&global, next_field(&line));
    }
    return global;
}
