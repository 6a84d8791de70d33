#include "mode.h"

#include <stddef.h>
#include <string.h>

const char *mode_name(enum mode mode)
{
    return mode == MODE_HOOK ? "hook" : mode == MODE_TOOL ? "tool" : "server";
}

/* The client wraps a tool's command as `source <snapshot> … eval '<command>' … pwd -P >| <file>`;
 * without a snapshot only the tail is left. */
bool is_tool_command(const char *command)
{
    const char *snapshot = strstr(command, "/shell-snapshots/snapshot-");
    const char *eval = strstr(snapshot == NULL ? command : snapshot, "eval ");
    return eval != NULL && (snapshot != NULL || strstr(eval, "pwd -P >|") != NULL);
}

/* Holding a server to a hook's limit would end it in mid-session, so a hook is only what shows
 * all the marks of one. Both forms of a hook are session leaders' business: the client starts
 * hooks detached, with `sh` or (where sh replaces itself by us) with us as the leader, and never
 * starts a server so. A CLAUDE_PID that a nested client inherited names neither ancestor, or
 * names the grandparent without a shell of ours between. */
static bool is_hook(const struct surroundings *at)
{
    if (!at->has_project)
        return false;
    bool we_lead = at->session == at->pid && at->claude_pid == at->parent;
    bool shell_leads = at->session == at->parent && at->parent_runs_us &&
                       (at->claude_pid == 0 || at->claude_pid == at->grandparent);
    return (we_lead && at->claude_pid != 0) || shell_leads;
}

enum mode detect_mode(const struct surroundings *at)
{
    if (is_tool_command(at->command))
        return MODE_TOOL;
    /* Started by the client itself as a session leader, with no project: only tools are. Their
     * text is the user's content and must not be taken for a server's command line. */
    if (!at->has_project && at->claude_pid != 0 && at->claude_pid == at->parent &&
        at->session == at->pid)
        return MODE_TOOL;
    return is_hook(at) ? MODE_HOOK : MODE_SERVER;
}
