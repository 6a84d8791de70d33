/* For kernels without subreapers, /proc and cgroups (macOS). Weaker than os_linux.c: the tree is the
 * hook's process group, so that what leaves the group is neither seen nor ended, and memory is
 * not measured. docs/launcher.md says so. */
#include "os.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

#define FDS_MAX 4096

static pid_t group;
static int signal_pipe[2] = {-1, -1};
static sigset_t waited_for;

/* Where sh replaces itself by us, as bash does, we lead the session and the client is our parent: that
 * needs no look at other processes. Anything else is taken for a server, which is never limited. */
void os_ancestry(struct ancestry *ancestry, enum ancestry_depth depth, const char *self)
{
    (void)depth;
    (void)self;
    *ancestry = (struct ancestry){0};
}

bool os_adopt_orphans(void)
{
    return true;
}

void os_disown_orphans(void)
{
}

/* The whole group as one negative id, which kill(2) understands. */
void os_list_tree(struct tree *tree, int signal)
{
    tree->signal = signal;
    tree->count = group > 0 ? 1 : 0;
    tree->pids[0] = -group;
    if (signal != 0 && group > 0)
        kill(-group, signal);
}

uint64_t os_private_bytes(const struct tree *tree)
{
    (void)tree;
    return 0;
}

uint64_t os_exact_private_bytes(const struct tree *tree)
{
    (void)tree;
    return 0;
}

void os_process_name(pid_t pid, char *name, size_t capacity)
{
    (void)pid;
    if (capacity > 0)
        name[0] = '\0';
}

/* --------------------------------------------------------------------------------------- waiting */

static void note_signal(int signal)
{
    int before = errno;
    unsigned char number = (unsigned char)signal;
    if (write(signal_pipe[1], &number, 1) < 0)
        number = 0; /* the pipe is full of signals: one more says nothing new */
    errno = before;
}

void os_be_prompt(void)
{
}

int os_signal_fd(const sigset_t *signals)
{
    struct sigaction action = {.sa_handler = note_signal, .sa_flags = SA_RESTART};
    sigfillset(&action.sa_mask);
    waited_for = *signals;
    if (!os_pipe(signal_pipe))
        return -1;
    for (int end = 0; end < 2; end++)
        if (fcntl(signal_pipe[end], F_SETFL, O_NONBLOCK) != 0)
            return -1;
    for (int signal = 1; signal < NSIG; signal++)
        if (sigismember(signals, signal) == 1 && sigaction(signal, &action, NULL) != 0)
            return -1;
    return signal_pipe[0];
}

int os_next_signal(int fd)
{
    unsigned char number;
    return read(fd, &number, 1) == 1 ? number : 0;
}

int os_wait(struct pollfd *fds, nfds_t count, int64_t timeout_ns)
{
    int64_t milliseconds = (timeout_ns + 999999) / 1000000;
    bool endless = timeout_ns == INT64_MAX;
    /* Handlers run only here, and what they write wakes the poll. */
    sigprocmask(SIG_UNBLOCK, &waited_for, NULL);
    int ready = poll(fds, count, endless ? -1 : milliseconds > 1000000 ? 1000000 : (int)milliseconds);
    sigprocmask(SIG_BLOCK, &waited_for, NULL);
    return ready;
}

void os_close_from(int first)
{
    for (int fd = first; fd < FDS_MAX; fd++)
        close(fd);
}

static bool close_on_exec(int pair[2])
{
    return fcntl(pair[0], F_SETFD, FD_CLOEXEC) == 0 && fcntl(pair[1], F_SETFD, FD_CLOEXEC) == 0;
}

bool os_pipe(int pair[2])
{
    return pipe(pair) == 0 && close_on_exec(pair);
}

bool os_socket_pair(int pair[2])
{
    return socketpair(AF_UNIX, SOCK_STREAM, 0, pair) == 0 && close_on_exec(pair);
}

bool os_random(void *bytes, size_t length)
{
    int file = open("/dev/urandom", O_RDONLY | O_CLOEXEC);
    bool filled = file >= 0 && read(file, bytes, length) == (ssize_t)length;
    if (file >= 0)
        close(file);
    return filled;
}

void os_end_by_signal(int signal)
{
    sigset_t only;
    struct rlimit none = {0, 0};
    struct sigaction usual = {.sa_handler = SIG_DFL};
    setrlimit(RLIMIT_CORE, &none);
    sigemptyset(&only);
    sigaddset(&only, signal);
    sigaction(signal, &usual, NULL);
    kill(getpid(), signal);
    sigprocmask(SIG_UNBLOCK, &only, NULL);
}

/* ---------------------------------------------------------------------------------------- spawn */

static void become(const struct spawn *spawn)
{
    setpgid(0, 0);
    for (int fd = 0; fd < 3; fd++)
        if (spawn->fds[fd] >= 0 && dup2(spawn->fds[fd], fd) < 0)
            _exit(126);
    if (spawn->ignore_child_death)
        signal(SIGCHLD, SIG_IGN);
    sigprocmask(SIG_SETMASK, spawn->mask, NULL);
    _exit(execute(spawn->plan));
}

pid_t os_spawn(struct spawn *spawn)
{
    spawn->cgroup = -1;
    pid_t pid = fork();
    if (pid == 0)
        become(spawn);
    if (pid > 0) {
        setpgid(pid, pid); /* whichever of us comes first */
        group = pid;
    }
    return pid;
}

/* --------------------------------------------------------------------------------------- cgroups */

bool os_cgroup_is_below(const char *from)
{
    (void)from;
    return false;
}

int os_cgroup_open(const char *folder, const char *run)
{
    (void)folder;
    (void)run;
    return -1;
}

bool os_cgroup_kill(int cgroup)
{
    (void)cgroup;
    return false;
}

bool os_cgroup_private_bytes(int cgroup, uint64_t *bytes)
{
    (void)cgroup;
    (void)bytes;
    return false;
}

void os_cgroup_remove(const char *folder, const char *run)
{
    (void)folder;
    (void)run;
}
