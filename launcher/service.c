#include "service.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "os.h"
#include "spool.h"
#include "text.h"

#define RETRY_SECONDS 30
#define ENVIRONMENT_MAX 64

extern char **environ;

/* The running service holds an exclusive lock. */
static bool is_running(const char *state)
{
    char path[STATE_PATH_MAX];
    if (!state_path(path, state, "service.lock"))
        return true;
    int lock = openat(AT_FDCWD, path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    if (lock < 0)
        return false;
    bool held = flock(lock, LOCK_SH | LOCK_NB) != 0 && errno == EWOULDBLOCK;
    close(lock);
    return held;
}

/* One launcher tries, and not again for a while if it comes to nothing. */
static bool is_our_turn(const char *state)
{
    char path[STATE_PATH_MAX];
    struct stat status;
    if (!state_path(path, state, "start.tried"))
        return false;
    if (stat(path, &status) == 0) {
        time_t age = time(NULL) - status.st_mtime;
        if (age >= 0 && age < RETRY_SECONDS)
            return false;
        unlink(path);
    }
    int file = openat(AT_FDCWD, path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
    if (file < 0)
        return false;
    close(file);
    return true;
}

/* The service lives longer than any session: it gets no session's tokens. */
static void keep_plain_environment(char **kept, const char *state)
{
    static char assignment[STATE_PATH_MAX + 32];
    static const char *const names[] = {"HOME=", "PATH=", "USER=", "LOGNAME=", "LANG=", "LC_", "TZ=",
                                        "TMPDIR=", "XDG_", "BETTER_CLAUDE_CONTRACT=",
                                        "CLAUDE_CONFIG_DIR=", "DBUS_SESSION_BUS_ADDRESS="};
    struct text text = text_in(assignment, sizeof assignment);
    text_add(&text, "BETTER_CLAUDE_STATE=");
    text_add(&text, state);
    size_t count = 0;
    kept[count++] = assignment; /* found by our path, perhaps: the service has to use the same */
    for (char **entry = environ; *entry != NULL && count < ENVIRONMENT_MAX; entry++)
        for (size_t i = 0; i < sizeof names / sizeof *names; i++)
            if (strncmp(*entry, names[i], strlen(names[i])) == 0) {
                kept[count++] = *entry;
                break;
            }
    kept[count] = NULL;
}

/* In the first child: leaves the client's session, sockets and folder behind. */
static void become_starter(char *path, const char *state)
{
    char *kept[ENVIRONMENT_MAX + 1];
    char *arguments[] = {path, NULL};
    setsid();
    if (fork() != 0)
        _exit(0);
    int nothing = openat(AT_FDCWD, "/dev/null", O_RDWR);
    for (int fd = 0; fd < 3; fd++)
        if (dup2(nothing, fd) < 0)
            _exit(1);
    os_close_from(3);
    if (chdir("/") != 0)
        _exit(1);
    keep_plain_environment(kept, state);
    execve(path, arguments, kept);
    _exit(1);
}

void start_service_if_down(const char *state)
{
    char path[STATE_PATH_MAX];
    if (is_running(state) || !state_path(path, state, "bin/start") || access(path, X_OK) != 0 ||
        !is_our_turn(state))
        return;
    pid_t pid = fork();
    if (pid == 0)
        become_starter(path, state);
    if (pid > 0)
        waitpid(pid, NULL, 0);
}
