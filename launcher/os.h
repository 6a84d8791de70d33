/* What differs between kernels. os_linux.c does all of it; os_posix.c does what POSIX alone allows. */
#ifndef OS_H
#define OS_H

#include <poll.h>
#include <signal.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "command.h"

/* More processes than this are ended in several passes. */
#define TREE_MAX 4096

/* What ru_maxrss counts in. */
#ifdef __APPLE__
#define MAXRSS_UNIT 1
#else
#define MAXRSS_UNIT 1024
#endif

/* Every process below us at one moment. */
struct tree {
    int signal; /* that each one got as soon as it was seen, 0 for none */
    size_t count;
    pid_t pids[TREE_MAX];
};

struct ancestry {
    uint64_t start_ticks; /* our own */
    long grandparent;
    bool parent_runs_us;
    char parent_shell[256];
};

/* `with_parents`: look at the parent too; costs two more files. */
enum ancestry_depth { OURSELVES, WITH_PARENTS };
void os_ancestry(struct ancestry *ancestry, enum ancestry_depth depth, const char *self);

/* From now on orphans of the tree become our children. */
bool os_adopt_orphans(void);
void os_disown_orphans(void);

/* Lists the tree. With a `signal` other than 0 each process gets it as soon as it is seen, before its
 * children are read: one that is stopped so can have no further ones. */
void os_list_tree(struct tree *tree, int signal);
/* Anonymous memory of the tree's processes in bytes; what forks share is counted for each. */
uint64_t os_private_bytes(const struct tree *tree);
/* The same with everything counted once; slower. */
uint64_t os_exact_private_bytes(const struct tree *tree);
void os_process_name(pid_t pid, char *name, size_t capacity);

/* Asks for short turns on the processor, which come soon after waking. Not inherited by who is already
 * our child. */
void os_be_prompt(void);

/* A descriptor that becomes readable when one of the (blocked) signals arrives, or -1. */
int os_signal_fd(const sigset_t *signals);
/* Takes the next signal off it, 0 if there is none. */
int os_next_signal(int fd);

/* As poll(2) with nanoseconds; INT64_MAX waits without end. */
int os_wait(struct pollfd *fds, nfds_t count, int64_t timeout_ns);

/* Closes every descriptor from `first` on. */
void os_close_from(int first);
bool os_pipe(int pair[2]);
bool os_socket_pair(int pair[2]);
bool os_random(void *bytes, size_t length);
/* Ends this process by `signal`, without a core dump of our own. */
void os_end_by_signal(int signal);

struct spawn {
    const struct plan *plan;
    int fds[3];              /* become the child's 0, 1, 2; -1: inherit ours */
    const sigset_t *mask;    /* the child's signal mask */
    bool ignore_child_death; /* SIGCHLD was ignored when we were started */
    int cgroup;              /* folder to start in, or -1; -1 afterwards if that was not possible */
};

/* Starts the plan as our child; -1 if that is impossible. */
pid_t os_spawn(struct spawn *spawn);

/* Whether we live in the cgroup `from` (as /proc/self/cgroup names it) or below. */
bool os_cgroup_is_below(const char *from);
/* A cgroup of this run's own below `folder`: returns its open folder, or -1. */
int os_cgroup_open(const char *folder, const char *run);
/* Kills everything in it; false if the kernel cannot. */
bool os_cgroup_kill(int cgroup);
/* Its anonymous memory; false if no memory controller is there. */
bool os_cgroup_private_bytes(int cgroup, uint64_t *bytes);
void os_cgroup_remove(const char *folder, const char *run);

#endif
