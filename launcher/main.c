/* better-claude's launcher: what CLAUDE_CODE_SHELL_PREFIX puts in front of every command that
 * Claude Code starts. See docs/launcher.md. */
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "builtin.h"
#include "child.h"
#include "command.h"
#include "os.h"
#include "service.h"
#include "spool.h"
#include "text.h"

#define COMMAND_JOINED_MAX (64 << 10)

extern char **environ;

static const char *environment_text(const char *name)
{
    const char *value = getenv(name);
    return value == NULL ? "" : value;
}

static void say(int fd, const char *message)
{
    if (write(fd, message, strlen(message)) < 0)
        _exit(1);
}

/* A standard stream that is closed stays closed for the child, and is no number of ours. */
static void reserve_standard_streams(void)
{
    for (int fd = 0; fd < 3; fd++)
        if (fcntl(fd, F_GETFD) < 0 && open("/dev/null", O_RDWR | O_CLOEXEC) != fd)
            return;
}

static void hex_key(char key[17], const char *text)
{
    struct text digits = text_in(key, 17);
    text_hex(&digits, fnv1a_of(text, strlen(text)), 16);
}

static void make_run_id(struct run *run)
{
    uint64_t random;
    if (!os_random(&random, sizeof random))
        random = (run->start_ns ^ (uint64_t)run->launcher_pid << 40) * 0x9E3779B97F4A7C15;
    struct text digits = text_in(run->id, sizeof run->id);
    text_hex(&digits, random, 16);
}

/* The run's command as one text: several arguments are joined by spaces. Its key
 * is of this text, which is cut where nobody's command line goes. */
static const char *command_text(char **arguments, size_t count)
{
    static char joined[COMMAND_JOINED_MAX];
    if (count == 1)
        return arguments[0];
    struct text text = text_in(joined, sizeof joined);
    for (size_t i = 0; i < count; i++) {
        text_add(&text, i == 0 ? "" : " ");
        text_add(&text, arguments[i]);
    }
    return joined;
}

static void look_around(struct run *run, struct ancestry *ancestry, const char *self)
{
    uint64_t claude_pid = 0;
    const char *digits = environment_text("CLAUDE_PID");
    number_from(digits, strlen(digits), &claude_pid);
    struct surroundings at = {
        .command = run->command,
        .has_project = getenv("CLAUDE_PROJECT_DIR") != NULL,
        .claude_pid = (long)claude_pid,
        .pid = (long)getpid(),
        .parent = (long)getppid(),
        .session = (long)getsid(0),
    };
    os_ancestry(ancestry, at.has_project ? WITH_PARENTS : OURSELVES, self);
    at.grandparent = ancestry->grandparent;
    at.parent_runs_us = ancestry->parent_runs_us;
    run->mode = detect_mode(&at);
    run->launcher_pid = at.pid;
    run->launcher_ticks = ancestry->start_ticks;
    /* A server's environment has no CLAUDE_PID of its own: its parent is the client. */
    run->claude_pid = run->mode == MODE_SERVER ? at.parent : at.claude_pid;
}

static void pass_through(const struct call *call)
{
    struct plan plan;
    if (make_plan(&plan, call, environ))
        _exit(execute(&plan));
    /* Not even memory for that: the shell with the plain command. */
    execl("/bin/sh", "sh", "-c", call->arguments[0], (char *)NULL);
    _exit(127);
}

static void describe(struct run *run, const char *self, struct ancestry *ancestry)
{
    struct timespec now;
    clock_gettime(CLOCK_REALTIME, &now);
    run->start_ns = (uint64_t)now.tv_sec * 1000000000 + (uint64_t)now.tv_nsec;
    run->exit_code = -1;
    run->session = environment_text("CLAUDE_CODE_SESSION_ID");
    run->project = environment_text("CLAUDE_PROJECT_DIR");
    look_around(run, ancestry, self);
    hex_key(run->key, run->mode == MODE_TOOL ? "Bash" : run->command);
    make_run_id(run);
}

static void launch(char **arguments, size_t count, const char *self)
{
    static struct run run;
    static struct event event;
    static struct policy_global global;
    static char policy_buffer[POLICY_MAX], state[STATE_PATH_MAX], path[STATE_PATH_MAX];
    static struct ancestry ancestry;
    char project_key[17] = "";
    uint64_t started_ns = monotonic_ns();
    event_init(&event);
    run.event = &event;
    run.command = command_text(arguments, count);
    describe(&run, self, &ancestry);
    if (run.project[0] != '\0')
        hex_key(project_key, run.project);
    struct call call = {
        .mode = run.mode,
        .self = self,
        .parent_shell = ancestry.parent_shell,
        .run = run.id,
        .arguments = arguments,
        .argument_count = count,
    };
    if (strcmp(environment_text("BETTER_CLAUDE_OFF"), "1") == 0) {
        call.run = NULL;
        pass_through(&call);
    }
    reserve_standard_streams();
    struct policy policy = {.text = policy_buffer};
    if (find_state(state, self) && state_path(path, state, "policy"))
        policy = policy_load(path, policy_buffer, sizeof policy_buffer);
    global = policy_global(&policy);
    if (state[0] != '\0' && global.autostart && getenv("BETTER_CLAUDE_RUN") == NULL)
        start_service_if_down(state);
    struct plan plan;
    if (!make_plan(&plan, &call, environ))
        pass_through(&call);
    run.exec = plan.program != NULL ? "direct" : "shell";
    struct job job = {&run, &event, &plan, &policy, &global, state, project_key, started_ns};
    if (run.mode != MODE_SERVER)
        run_job(&job);
    else if (state[0] != '\0')
        write_start(state, &run);
    _exit(execute(&plan));
}

int main(int count, char **arguments)
{
    if (count == 2 && strcmp(arguments[1], "--version") == 0) {
        say(1, "better-claude launcher " BUILTIN_VERSION "\n");
        return 0;
    }
    if (count < 2) {
        say(2, "usage: launcher COMMAND              run it as the client's shell would\n"
               "       launcher PROGRAM ARGUMENT...  run it without a shell\n"
               "This is better-claude's launcher, which CLAUDE_CODE_SHELL_PREFIX names.\n");
        return 2;
    }
    launch(arguments + 1, (size_t)count - 1, arguments[0]);
}
