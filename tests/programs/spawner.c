/* Starts commands as the client does and prints how long each took: spawner <rounds> <event file> <command>…
 *
 * Each command is started as `/bin/sh -c <command>`: a session leader on three socket pairs, with this
 * process in CLAUDE_PID. The event is written and stdin closed; a run ends when the process exits, which is
 * when the client goes on. Commands take turns, another one first in each round, so that whatever
 * disturbs the machine disturbs all alike. Prints lines `<command's number> <nanoseconds>`. */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

extern char **environ;

static long long now_ns(void)
{
    struct timespec at;
    clock_gettime(CLOCK_MONOTONIC, &at);
    return at.tv_sec * 1000000000LL + at.tv_nsec;
}

static void fail(const char *what)
{
    perror(what);
    exit(1);
}

static long long run(const char *command, const char *event, size_t length)
{
    int pairs[3][2];
    posix_spawn_file_actions_t actions;
    posix_spawnattr_t attributes;
    posix_spawn_file_actions_init(&actions);
    for (int i = 0; i < 3; i++) {
        if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pairs[i]) != 0)
            fail("socketpair");
        posix_spawn_file_actions_adddup2(&actions, pairs[i][1], i);
    }
    posix_spawnattr_init(&attributes);
    posix_spawnattr_setflags(&attributes, POSIX_SPAWN_SETSID);
    char *words[] = {"/bin/sh", "-c", (char *)command, NULL};
    pid_t pid;
    int status;
    long long begin = now_ns();
    if (posix_spawn(&pid, "/bin/sh", &actions, &attributes, words, environ) != 0)
        fail("posix_spawn");
    for (int i = 0; i < 3; i++)
        close(pairs[i][1]);
    /* A command that is already over reads no event: as well for the client. */
    if (write(pairs[0][0], event, length) < 0 && errno != EPIPE && errno != ECONNRESET)
        fail("write");
    close(pairs[0][0]);
    if (waitpid(pid, &status, 0) != pid)
        fail("waitpid");
    long long spent = now_ns() - begin;
    close(pairs[1][0]);
    close(pairs[2][0]);
    posix_spawn_file_actions_destroy(&actions);
    posix_spawnattr_destroy(&attributes);
    if (!WIFEXITED(status) || WEXITSTATUS(status) != 0) {
        fprintf(stderr, "status %d from: %s\n", status, command);
        exit(1);
    }
    return spent;
}

int main(int count, char **words)
{
    static char event[1 << 16];
    char own[24];
    if (count < 4)
        return 64;
    int file = open(words[2], O_RDONLY);
    ssize_t length = read(file, event, sizeof event);
    if (length < 0)
        fail(words[2]);
    close(file);
    signal(SIGPIPE, SIG_IGN);
    snprintf(own, sizeof own, "%ld", (long)getpid());
    setenv("CLAUDE_PID", own, 1);
    int rounds = atoi(words[1]), commands = count - 3;
    for (int round = -5; round < rounds; round++)
        for (int turn = 0; turn < commands; turn++) {
            int which = (turn + round + 5) % commands;
            long long spent = run(words[3 + which], event, (size_t)length);
            if (round >= 0)
                printf("%d %lld\n", which, spent);
        }
    return 0;
}
