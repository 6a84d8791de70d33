/* Turns the client's one argument into what is executed. */
#ifndef COMMAND_H
#define COMMAND_H

#include <stdbool.h>
#include <stddef.h>

#include "mode.h"

#define WORDS_MAX 256

/* What to execute: `program` if that is provably what a shell would do, and `shell` otherwise or
 * when `program` cannot be executed, so that the message and the status are the shell's own. */
struct plan {
    const char *program;
    char **words;
    const char *shell;
    char *shell_words[4];
    char **program_environment, **shell_environment;
};

/* Splits `text` into words as every POSIX shell would, into `storage` (of strlen(text) + 1 bytes).
 * Returns their number, or 0 if there is anything in it that a shell would interpret. */
size_t split_words(const char *text, char *storage, char **words, size_t capacity);

/* True for reserved words and built-in commands of dash, bash, ksh and zsh. */
bool shell_knows(const char *name);

/* Finds `name` as a shell would in `path`; false when unsure. */
bool find_program(const char *name, const char *path, char *found, size_t capacity);

/* The launcher's own circumstances that a plan depends on. */
struct call {
    enum mode mode;
    const char *self;         /* how we were called */
    const char *parent_shell; /* the shell that called us, "" if none is left */
    const char *run;          /* our run id, NULL to add none to the environment */
    char **arguments;         /* more than one: executed as they are */
    size_t argument_count;
};

/* Fills `plan`; everything in it lives as long as the process. False if memory is short. */
bool make_plan(struct plan *plan, const struct call *call, char **environment);

/* Executes it in place of this process (or of a vforked child: writes no memory). Returns the
 * exit status for a shell that could not be executed either. */
int execute(const struct plan *plan);

#endif
