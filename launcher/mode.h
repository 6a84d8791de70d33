/* Tells what the launcher was started for, from its surroundings alone (a pure function). */
#ifndef MODE_H
#define MODE_H

#include <stdbool.h>

enum mode {
    MODE_HOOK,   /* limits apply */
    MODE_TOOL,   /* a Bash tool command: measured */
    MODE_SERVER, /* an MCP server, or anything unsure: never limited */
};

struct surroundings {
    const char *command;
    bool has_project;    /* CLAUDE_PROJECT_DIR is set */
    bool parent_runs_us; /* the parent is `sh -c` and its text names us */
    long claude_pid;     /* CLAUDE_PID, 0 if absent */
    long pid, parent, grandparent, session;
};

enum mode detect_mode(const struct surroundings *at);
bool is_tool_command(const char *command);
const char *mode_name(enum mode mode);

#endif
