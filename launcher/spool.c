#include "spool.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "text.h"

#define RECORD_MAX 8192
#define COMMAND_TEXT_MAX 1024
#define TEXT_MAX 256
/* An hour's file that has grown past this belongs to a runaway: its further records are dropped. */
#define SEGMENT_MAX ((off_t)256 << 20)
#define SUFFIX "/bin/launcher"

/* ----------------------------------------------------------------------------------- the folders */

static bool join(char *path, const char *first, const char *second, const char *third)
{
    struct text text = text_in(path, STATE_PATH_MAX);
    text_add(&text, first);
    text_add(&text, second);
    text_add(&text, third);
    return !text.cut;
}

bool state_path(char *path, const char *state, const char *name)
{
    return join(path, state, "/", name);
}

/* Takes the state folder from a path that ends in /bin/launcher. */
static bool from_own_path(char *state, const char *path)
{
    size_t length = strlen(path), tail = strlen(SUFFIX);
    if (path[0] != '/' || length <= tail || strcmp(path + length - tail, SUFFIX) != 0)
        return false;
    struct text text = text_in(state, STATE_PATH_MAX);
    text_bytes(&text, path, length - tail);
    return !text.cut;
}

/* The path that the client was given names the folder as Python knows it, links included; the
 * kernel's name for our file is the second choice. */
static bool from_ourselves(char *state, const char *self)
{
    char path[STATE_PATH_MAX];
    if (from_own_path(state, self))
        return true;
    ssize_t length = readlink("/proc/self/exe", path, sizeof path - 1);
    if (length <= 0)
        return false;
    path[length] = '\0';
    return from_own_path(state, path);
}

static bool from_home(char *state)
{
    const char *state_home = getenv("XDG_STATE_HOME"), *home = getenv("HOME");
    if (state_home != NULL && state_home[0] != '\0')
        return join(state, state_home, "/better-claude", "");
    return home != NULL && home[0] != '\0' && join(state, home, "/.local/state/better-claude", "");
}

bool find_state(char *state, const char *self)
{
    const char *named = getenv("BETTER_CLAUDE_STATE");
    bool found = named != NULL && named[0] != '\0' ? join(state, named, "", "")
                                                   : from_ourselves(state, self) || from_home(state);
    /* A name that was cut is another folder's. */
    if (!found)
        state[0] = '\0';
    size_t length = strlen(state);
    while (length > 1 && state[length - 1] == '/')
        state[--length] = '\0';
    return found;
}

/* A folder below /tmp is only ours if nobody else could have made it or can write to it. */
static bool is_private_folder(const char *path)
{
    struct stat status;
    mkdir(path, 0700);
    return lstat(path, &status) == 0 && S_ISDIR(status.st_mode) && status.st_uid == getuid() &&
           (status.st_mode & 0077) == 0;
}

static bool second_folder(char *folder, const char *state)
{
    struct text text = text_in(folder, STATE_PATH_MAX);
    text_add(&text, "/tmp/better-claude-");
    text_number(&text, getuid());
    if (!is_private_folder(folder))
        return false;
    text_add(&text, "/");
    text_hex(&text, fnv1a_of(state, strlen(state)), 16);
    return is_private_folder(folder);
}

static bool file_in(char *path, const char *folder, uint64_t now_ns)
{
    time_t seconds = (time_t)(now_ns / 1000000000);
    struct tm utc;
    if (gmtime_r(&seconds, &utc) == NULL)
        return false;
    const int digits[] = {utc.tm_mon + 1, utc.tm_mday, utc.tm_hour};
    char name[32];
    struct text text = text_in(name, sizeof name);
    text_number(&text, (uint64_t)utc.tm_year + 1900);
    for (int i = 0; i < 3; i++) {
        text_add(&text, i == 2 ? "T" : "");
        text_add(&text, digits[i] < 10 ? "0" : "");
        text_number(&text, (uint64_t)digits[i]);
    }
    text_add(&text, ".spool");
    return join(path, folder, "/", name);
}

/* ----------------------------------------------------------------------------------- one record */

static int open_segment(const char *path)
{
    /* Neither a link nor a FIFO that somebody put there may lead us elsewhere or hold us up. */
    return openat(AT_FDCWD, path, O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK, 0600);
}

/* One write; true if all of it is in the file, or if it was dropped on purpose. */
static bool append(int segment, const struct text *line)
{
    struct stat status;
    bool written = false;
    if (fstat(segment, &status) == 0 && S_ISREG(status.st_mode))
        written = status.st_size > SEGMENT_MAX ||
                  write(segment, line->at, line->length) == (ssize_t)line->length;
    close(segment);
    return written;
}

static bool write_first(const char *state, const struct text *line, uint64_t now_ns)
{
    char folder[STATE_PATH_MAX], path[STATE_PATH_MAX];
    if (!state_path(folder, state, "spool") || !file_in(path, folder, now_ns))
        return false;
    int segment = open_segment(path);
    if (segment < 0 && errno == ENOENT) {
        mkdir(state, 0700);
        mkdir(folder, 0700);
        segment = open_segment(path);
    }
    return segment >= 0 && append(segment, line);
}

static void write_second(const char *state, const struct text *line, uint64_t now_ns)
{
    char folder[STATE_PATH_MAX], path[STATE_PATH_MAX];
    if (!second_folder(folder, state) || !file_in(path, folder, now_ns))
        return;
    int segment = open_segment(path);
    if (segment >= 0)
        append(segment, line);
}

static void write_record(const char *state, struct text *json)
{
    struct timespec now;
    if (json->cut || clock_gettime(CLOCK_REALTIME, &now) != 0)
        return;
    uint64_t now_ns = (uint64_t)now.tv_sec * 1000000000 + (uint64_t)now.tv_nsec;
    uint32_t crc = crc32_of(json->at + 1, json->length - 1);
    text_add(json, "\t");
    text_hex(json, crc, 8);
    text_add(json, "\n");
    /* Past a file size limit a write is to fail like any other, not to end us. */
    struct sigaction ignore = {.sa_handler = SIG_IGN}, before;
    sigaction(SIGXFSZ, &ignore, &before);
    if (!write_first(state, json, now_ns))
        write_second(state, json, now_ns);
    sigaction(SIGXFSZ, &before, NULL);
}

/* ------------------------------------------------------------------------------------ the members */

/* Absent means empty: what is empty is left out. */
static void add_text(struct text *json, const char *name, const char *value, size_t limit)
{
    if (value == NULL || value[0] == '\0')
        return;
    text_add(json, ",\"");
    text_add(json, name);
    text_add(json, "\":\"");
    text_json(json, value, limit);
    text_add(json, "\"");
}

static void add_number(struct text *json, const char *name, uint64_t value)
{
    if (value == 0)
        return;
    text_add(json, ",\"");
    text_add(json, name);
    text_add(json, "\":");
    text_number(json, value);
}

static struct text begin(char *buffer, const char *kind, const struct run *run)
{
    struct text json = text_in(buffer, RECORD_MAX);
    text_add(&json, "\n{\"kind\":\"");
    text_add(&json, kind);
    text_add(&json, "\"");
    add_text(&json, "run", run->id, TEXT_MAX);
    add_number(&json, "start_ns", run->start_ns);
    add_text(&json, "mode", mode_name(run->mode), TEXT_MAX);
    add_text(&json, "key", run->key, TEXT_MAX);
    add_text(&json, "command", run->mode == MODE_TOOL ? "" : run->command, COMMAND_TEXT_MAX);
    add_number(&json, "claude_pid", (uint64_t)run->claude_pid);
    add_text(&json, "session", run->session, TEXT_MAX);
    add_text(&json, "project", run->project, TEXT_MAX);
    add_text(&json, "event", run->event->name, TEXT_MAX);
    add_text(&json, "tool", run->event->tool, TEXT_MAX);
    return json;
}

void write_start(const char *state, const struct run *run)
{
    char buffer[RECORD_MAX];
    struct text json = begin(buffer, "start", run);
    add_number(&json, "launcher_pid", (uint64_t)run->launcher_pid);
    add_number(&json, "launcher_ticks", run->launcher_ticks);
    text_add(&json, "}");
    write_record(state, &json);
}

/* `exit` is absent for -1, so that 0 has to be said. */
static void add_exit(struct text *json, const struct run *run)
{
    if (run->exit_code < 0)
        return;
    text_add(json, ",\"exit\":");
    text_number(json, (uint64_t)run->exit_code);
}

void write_end(const char *state, const struct run *run)
{
    char buffer[RECORD_MAX];
    struct text json = begin(buffer, "end", run);
    text_add(&json, ",\"wall_ns\":");
    text_number(&json, run->wall_ns);
    add_text(&json, "outcome", run->outcome, TEXT_MAX);
    add_text(&json, "prompt", run->event->prompt, TEXT_MAX);
    add_text(&json, "tool_use", run->event->tool_use, TEXT_MAX);
    add_text(&json, "agent", run->event->agent, TEXT_MAX);
    add_exit(&json, run);
    add_number(&json, "signal", (uint64_t)run->signal);
    add_text(&json, "breach", run->breach, TEXT_MAX);
    add_text(&json, "enforcement", run->limits.enforce ? "enforce" : "observe", TEXT_MAX);
    add_number(&json, "timeout_ms", run->limits.timeout_ms);
    add_number(&json, "memory_limit_bytes", run->limits.memory_bytes);
    add_number(&json, "user_ns", run->user_ns);
    add_number(&json, "sys_ns", run->sys_ns);
    add_number(&json, "anon_peak_bytes", run->anon_peak_bytes);
    add_text(&json, "anon_source", run->anon_source, TEXT_MAX);
    add_number(&json, "rss_peak_bytes", run->rss_peak_bytes);
    add_number(&json, "disk_read_bytes", run->disk_read_bytes);
    add_number(&json, "disk_write_bytes", run->disk_write_bytes);
    add_number(&json, "stdin_bytes", run->stdin_bytes);
    add_number(&json, "stdout_bytes", run->stdout_bytes);
    add_number(&json, "stderr_bytes", run->stderr_bytes);
    add_number(&json, "ctx_voluntary", run->ctx_voluntary);
    add_number(&json, "ctx_involuntary", run->ctx_involuntary);
    add_number(&json, "processes", run->processes);
    add_number(&json, "leftovers", run->leftovers);
    add_text(&json, "leftover_names", run->leftover_names, TEXT_MAX);
    add_number(&json, "stop_ns", run->stop_ns);
    add_number(&json, "overhead_ns", run->overhead_ns);
    add_text(&json, "exec", run->exec, TEXT_MAX);
    text_add(&json, "}");
    write_record(state, &json);
}
