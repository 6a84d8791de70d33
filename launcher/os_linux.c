#include "os.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/sched.h>
#include <stdlib.h>
#include <string.h>
#include <sys/auxv.h>
#include <sys/prctl.h>
#include <sys/random.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "text.h"

#define FILE_MAX 4096
#define PATH_ROOM 96
#define FDS_MAX 4096
#define SLICE_NS 100000 /* the shortest there is */

/* --------------------------------------------------------------------------------- small files */

/* Reads the beginning of a file of /proc or /sys; returns its length, 0 if there is none. */
static size_t read_at(int folder, const char *path, char *buffer, size_t capacity)
{
    int file = openat(folder, path, O_RDONLY | O_CLOEXEC);
    buffer[0] = '\0';
    if (file < 0)
        return 0;
    ssize_t length = read(file, buffer, capacity - 1);
    close(file);
    buffer[length > 0 ? length : 0] = '\0';
    return length > 0 ? (size_t)length : 0;
}

static void process_path(char path[PATH_ROOM], pid_t pid, const char *name)
{
    struct text text = text_in(path, PATH_ROOM);
    text_add(&text, "/proc/");
    text_number(&text, (uint64_t)pid);
    text_add(&text, name);
}

static size_t read_process(pid_t pid, const char *name, char *buffer, size_t capacity)
{
    char path[PATH_ROOM];
    process_path(path, pid, name);
    return read_at(AT_FDCWD, path, buffer, capacity);
}

/* Takes the next number off a text of the kernel's, 0 if there is none. */
static uint64_t take_number(const char **at)
{
    uint64_t number = 0;
    while (**at == ' ')
        ++*at;
    for (; **at >= '0' && **at <= '9'; ++*at)
        number = number * 10 + (uint64_t)(**at - '0');
    return number;
}

/* Returns field `number` (counted as in proc(5)) of the text of a stat file, 0 if unknown. The name
 * in field 2 may hold anything, so counting begins behind its last parenthesis. */
static uint64_t field_of(const char *stat, int number)
{
    const char *at = strrchr(stat, ')');
    for (int field = 2; at != NULL && field < number; field++)
        at = strchr(at + 1, ' ');
    return at == NULL ? 0 : take_number(&at);
}

static uint64_t stat_field(pid_t pid, int number)
{
    char stat[FILE_MAX];
    read_process(pid, "/stat", stat, sizeof stat);
    return field_of(stat, number);
}

/* In a PID namespace without a /proc of its own (unshare --pid) the numbers there are not those that
 * kill(2) means, and would have us look at strangers and end them. */
static bool proc_is_ours(void)
{
    char own[24], link[24];
    struct text name = text_in(own, sizeof own);
    text_number(&name, (uint64_t)getpid());
    ssize_t length = readlink("/proc/self", link, sizeof link);
    return length == (ssize_t)name.length && memcmp(link, own, name.length) == 0;
}

/* ------------------------------------------------------------------------------------ ancestry */

/* Finds out whether `pid` is `<shell> -c <text that names us>`. */
static void read_parent(struct ancestry *ancestry, pid_t pid, const char *self)
{
    char arguments[FILE_MAX];
    size_t length = read_process(pid, "/cmdline", arguments, sizeof arguments);
    const char *end = arguments + length;
    const char *option = arguments + strlen(arguments) + 1;
    const char *text = option < end ? option + strlen(option) + 1 : end;
    if (text >= end || strcmp(option, "-c") != 0 || strstr(text, self) == NULL)
        return;
    ancestry->parent_runs_us = true;
    struct text shell = text_in(ancestry->parent_shell, sizeof ancestry->parent_shell);
    text_add(&shell, arguments);
}

void os_ancestry(struct ancestry *ancestry, enum ancestry_depth depth, const char *self)
{
    char stat[FILE_MAX];
    /* By this name it is us in every namespace. */
    read_at(AT_FDCWD, "/proc/self/stat", stat, sizeof stat);
    *ancestry = (struct ancestry){.start_ticks = field_of(stat, 22)};
    if (depth == OURSELVES || !proc_is_ours())
        return;
    ancestry->grandparent = (long)stat_field(getppid(), 4);
    read_parent(ancestry, getppid(), self);
}

bool os_adopt_orphans(void)
{
    return prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0) == 0;
}

void os_disown_orphans(void)
{
    /* It would outlive an exec. */
    prctl(PR_SET_CHILD_SUBREAPER, 0, 0, 0, 0);
}

/* -------------------------------------------------------------------------------------- the tree */

static void add_pid(struct tree *tree, pid_t pid)
{
    if (tree->signal != 0)
        kill(pid, tree->signal);
    tree->pids[tree->count++] = pid;
}

static void add_pids(struct tree *tree, const char *list)
{
    for (uint64_t pid; tree->count < TREE_MAX && (pid = take_number(&list)) > 0;)
        add_pid(tree, (pid_t)pid);
}

/* Adds the children of one thread; false if the kernel does not list any thread's. */
static bool add_children(struct tree *tree, pid_t pid, const char *thread)
{
    char path[PATH_ROOM], name[PATH_ROOM], list[FILE_MAX];
    struct text text = text_in(name, sizeof name);
    text_add(&text, "/task/");
    text_add(&text, thread);
    text_add(&text, "/children");
    process_path(path, pid, name);
    int file = openat(AT_FDCWD, path, O_RDONLY | O_CLOEXEC);
    if (file < 0)
        return false;
    /* A number may be cut where one read ends: begin the next one in front of it. */
    off_t offset = 0;
    for (ssize_t got; (got = pread(file, list, sizeof list - 1, offset)) > 0;) {
        list[got] = '\0';
        char *last = strrchr(list, ' ');
        if (last == NULL)
            break;
        last[1] = '\0';
        add_pids(tree, list);
        offset += last + 1 - list;
    }
    close(file);
    return true;
}

/* As readdir(3), which would bring an allocator with it. */
static void visit_folder(const char *path, void visit(void *context, const char *name), void *context)
{
    struct entry {
        uint64_t inode, offset;
        unsigned short length;
        unsigned char type;
        char name[];
    };
    _Alignas(struct entry) char entries[FILE_MAX];
    int folder = openat(AT_FDCWD, path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (folder < 0)
        return;
    for (long got; (got = syscall(SYS_getdents64, folder, entries, sizeof entries)) > 0;)
        for (long at = 0; at < got;) {
            struct entry *entry = (struct entry *)(entries + at);
            if (entry->name[0] != '.')
                visit(context, entry->name);
            at += entry->length;
        }
    close(folder);
}

struct thread_visit {
    struct tree *tree;
    pid_t pid;
};

static void add_thread(void *context, const char *name)
{
    struct thread_visit *visit = context;
    add_children(visit->tree, visit->pid, name);
}

/* Adds the children of every thread of `pid`: each thread has its own list. */
static void add_all_children(struct tree *tree, pid_t pid)
{
    char path[PATH_ROOM], own[24];
    struct stat status;
    struct text name = text_in(own, sizeof own);
    text_number(&name, (uint64_t)pid);
    process_path(path, pid, "/task");
    /* Links: `.`, `..` and one a thread. Most processes have one thread: no folder to read. */
    if (stat(path, &status) != 0)
        return;
    if (status.st_nlink == 3) {
        add_children(tree, pid, own);
        return;
    }
    struct thread_visit visit = {tree, pid};
    visit_folder(path, add_thread, &visit);
}

static bool holds(const struct tree *tree, pid_t pid)
{
    for (size_t i = 0; i < tree->count; i++)
        if (tree->pids[i] == pid)
            return true;
    return false;
}

struct parent_visit {
    struct tree *tree;
    bool grew;
};

static void add_if_child(void *context, const char *name)
{
    struct parent_visit *visit = context;
    struct tree *tree = visit->tree;
    pid_t pid = (pid_t)take_number(&name);
    if (pid <= 0 || tree->count == TREE_MAX || holds(tree, pid))
        return;
    pid_t parent = (pid_t)stat_field(pid, 4);
    if (parent == getpid() || holds(tree, parent)) {
        add_pid(tree, pid);
        visit->grew = true;
    }
}

/* For kernels without the lists of children: passes over all processes until nothing is new. */
static void list_by_parent(struct tree *tree)
{
    struct parent_visit visit = {tree, true};
    while (visit.grew) {
        visit.grew = false;
        visit_folder("/proc", add_if_child, &visit);
    }
}

void os_list_tree(struct tree *tree, int signal)
{
    char own[24];
    struct text name = text_in(own, sizeof own);
    text_number(&name, (uint64_t)getpid());
    tree->count = 0;
    tree->signal = signal;
    if (!proc_is_ours())
        return;
    if (!add_children(tree, getpid(), own)) {
        list_by_parent(tree);
        return;
    }
    for (size_t i = 0; i < tree->count; i++)
        add_all_children(tree, tree->pids[i]);
}

static uint64_t private_bytes_of(pid_t pid)
{
    char statm[128];
    const char *at = statm;
    read_process(pid, "/statm", statm, sizeof statm);
    take_number(&at); /* the address space's size */
    uint64_t resident = take_number(&at), shared = take_number(&at);
    return resident > shared ? (resident - shared) * getauxval(AT_PAGESZ) : 0;
}

uint64_t os_private_bytes(const struct tree *tree)
{
    uint64_t bytes = 0;
    for (size_t i = 0; i < tree->count; i++)
        bytes += private_bytes_of(tree->pids[i]);
    return bytes;
}

/* A page that n processes share is a nth of a page for each of them (Pss_Anon, proc(5)). */
uint64_t os_exact_private_bytes(const struct tree *tree)
{
    static const char name[] = "\nPss_Anon:";
    uint64_t bytes = 0;
    for (size_t i = 0; i < tree->count; i++) {
        char rollup[FILE_MAX];
        read_process(tree->pids[i], "/smaps_rollup", rollup, sizeof rollup);
        const char *at = strstr(rollup, name);
        at = at == NULL ? NULL : at + sizeof name - 1;
        bytes += at == NULL ? private_bytes_of(tree->pids[i]) : take_number(&at) * 1024;
    }
    return bytes;
}

void os_process_name(pid_t pid, char *name, size_t capacity)
{
    size_t length = read_process(pid, "/comm", name, capacity);
    if (length > 0 && name[length - 1] == '\n')
        name[length - 1] = '\0';
}

/* --------------------------------------------------------------------------------------- waiting */

/* A task that asks for a shorter slice is scheduled earlier after it wakes, and needs no privilege for
 * it (EEVDF, Linux 6.12; older kernels ignore it): at its limit a hook may keep every processor busy. */
void os_be_prompt(void)
{
    struct {
        uint32_t size, policy;
        uint64_t flags;
        int32_t nice;
        uint32_t priority;
        uint64_t runtime, deadline, period;
    } attributes = {.size = sizeof attributes};
    if (syscall(SYS_sched_getattr, 0, &attributes, sizeof attributes, 0) != 0 || attributes.policy != 0)
        return;
    attributes.runtime = SLICE_NS;
    syscall(SYS_sched_setattr, 0, &attributes, 0);
}

int os_signal_fd(const sigset_t *signals)
{
    return signalfd(-1, signals, SFD_CLOEXEC | SFD_NONBLOCK);
}

int os_next_signal(int fd)
{
    struct signalfd_siginfo info;
    return read(fd, &info, sizeof info) == (ssize_t)sizeof info ? (int)info.ssi_signo : 0;
}

int os_wait(struct pollfd *fds, nfds_t count, int64_t timeout_ns)
{
    struct timespec timeout = {timeout_ns / 1000000000, timeout_ns % 1000000000};
    return ppoll(fds, count, timeout_ns == INT64_MAX ? NULL : &timeout, NULL);
}

void os_close_from(int first)
{
#ifdef SYS_close_range
    if (syscall(SYS_close_range, first, ~0u, 0) == 0)
        return;
#endif
    for (int fd = first; fd < FDS_MAX; fd++)
        close(fd);
}

bool os_pipe(int pair[2])
{
    return pipe2(pair, O_CLOEXEC) == 0;
}

bool os_socket_pair(int pair[2])
{
    return socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair) == 0;
}

bool os_random(void *bytes, size_t length)
{
    return getrandom(bytes, length, GRND_NONBLOCK) == (ssize_t)length;
}

void os_end_by_signal(int signal)
{
    sigset_t only;
    prctl(PR_SET_DUMPABLE, 0, 0, 0, 0);
    sigemptyset(&only);
    sigaddset(&only, signal);
    struct sigaction usual = {.sa_handler = SIG_DFL};
    sigaction(signal, &usual, NULL);
    kill(getpid(), signal);
    sigprocmask(SIG_UNBLOCK, &only, NULL);
}

/* ---------------------------------------------------------------------------------------- spawn */

/* In a vforked child: only system calls, and nothing of the parent's memory written. */
static void become(const struct spawn *spawn, pid_t launcher)
{
    /* Whoever kills us with SIGKILL means the command: it must not live on unwatched. */
    prctl(PR_SET_PDEATHSIG, SIGKILL, 0, 0, 0);
    if (getppid() != launcher)
        _exit(126); /* killed already */
    for (int fd = 0; fd < 3; fd++)
        if (spawn->fds[fd] >= 0 && dup2(spawn->fds[fd], fd) < 0)
            _exit(126);
    if (spawn->ignore_child_death)
        signal(SIGCHLD, SIG_IGN);
    sigprocmask(SIG_SETMASK, spawn->mask, NULL);
    _exit(execute(spawn->plan));
}

static pid_t fork_into(int cgroup)
{
#ifdef CLONE_INTO_CGROUP
    struct clone_args arguments = {
        .flags = CLONE_INTO_CGROUP | CLONE_VFORK,
        .exit_signal = SIGCHLD,
        .cgroup = (uint64_t)cgroup,
    };
    return (pid_t)syscall(SYS_clone3, &arguments, sizeof arguments);
#else
    (void)cgroup;
    return -1;
#endif
}

pid_t os_spawn(struct spawn *spawn)
{
    pid_t launcher = getpid(), pid = spawn->cgroup < 0 ? -1 : fork_into(spawn->cgroup);
    if (pid < 0) {
        spawn->cgroup = -1;
        pid = vfork();
    }
    if (pid == 0)
        become(spawn, launcher);
    return pid;
}

/* --------------------------------------------------------------------------------------- cgroups */

/* A process may move between two cgroups only where it may write to what is above both (cgroups(7),
 * "Delegation containment"): a client of a remote login is not where the user's services are. */
bool os_cgroup_is_below(const char *from)
{
    static const char version_2[] = "0::";
    char own[FILE_MAX];
    read_at(AT_FDCWD, "/proc/self/cgroup", own, sizeof own);
    const char *at = own;
    while (at != NULL && strncmp(at, version_2, sizeof version_2 - 1) != 0) {
        at = strchr(at, '\n');
        at = at == NULL ? NULL : at + 1;
    }
    if (at == NULL)
        return false;
    at += sizeof version_2 - 1;
    size_t length = strlen(from);
    return strncmp(at, from, length) == 0 && (at[length] == '/' || at[length] == '\n');
}

static bool cgroup_path(char *path, size_t capacity, const char *folder, const char *run)
{
    struct text text = text_in(path, capacity);
    text_add(&text, folder);
    text_add(&text, "/run-");
    text_add(&text, run);
    return !text.cut;
}

int os_cgroup_open(const char *folder, const char *run)
{
    char path[FILE_MAX];
    if (!cgroup_path(path, sizeof path, folder, run) || mkdir(path, 0755) != 0)
        return -1;
    return openat(AT_FDCWD, path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
}

bool os_cgroup_kill(int cgroup)
{
    int file = openat(cgroup, "cgroup.kill", O_WRONLY | O_CLOEXEC);
    bool killed = file >= 0 && write(file, "1", 1) == 1;
    if (file >= 0)
        close(file);
    return killed;
}

bool os_cgroup_private_bytes(int cgroup, uint64_t *bytes)
{
    char statistics[FILE_MAX];
    /* `anon` is the file's first line. */
    if (read_at(cgroup, "memory.stat", statistics, sizeof statistics) == 0 ||
        strncmp(statistics, "anon ", 5) != 0)
        return false;
    const char *at = statistics + 5;
    *bytes = take_number(&at);
    return true;
}

void os_cgroup_remove(const char *folder, const char *run)
{
    char path[FILE_MAX];
    if (cgroup_path(path, sizeof path, folder, run))
        rmdir(path);
}
