#include "command.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "text.h"

#define PROGRAM_MAX 4096
/* Longer texts go to the shell: nothing is saved on them. */
#define SIMPLE_MAX (64 << 10)
#define EXIT_NOT_EXECUTABLE 126
#define EXIT_NOT_FOUND 127

/* Room for what a plan holds: the kernel lets all arguments and environment be about 2 MB. Not touched,
 * it costs nothing; an allocator costs a quarter of the launcher's size. */
#define ARENA_MAX ((size_t)8 << 20)

static void *take(size_t size)
{
    static _Alignas(max_align_t) char arena[ARENA_MAX];
    static size_t used;
    size = (size + 15) & ~(size_t)15;
    if (size > ARENA_MAX - used)
        return NULL;
    used += size;
    return arena + used - size;
}

static bool is_blank(char c)
{
    return c == ' ' || c == '\t';
}

/* Bytes that stand for themselves outside quotes in every shell, wherever in a word. */
static bool is_plain(char c)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
           (c != '\0' && strchr("_./-+,:@%=", c) != NULL);
}

/* Who is to read the words: any shell, or nobody but us. */
enum quoting {
    AS_EVERY_SHELL, /* only what all shells read alike: other bytes than ASCII are a locale's business */
    AS_CLIENT,      /* a server's words, which the client put together and no shell ever reads */
};

static bool is_text(char c, enum quoting quoting)
{
    return (c >= ' ' && c <= '~') || (quoting == AS_CLIENT && ((unsigned char)c >= 0x80));
}

static bool stands_for_itself(char c, char quote, enum quoting quoting)
{
    if (quote == '\'')
        return c != '\'' && is_text(c, quoting);
    return is_text(c, quoting) && strchr("\"$`\\!", c) == NULL;
}

/* Copies one quoted part; NULL if a shell would do more than that. */
static const char *copy_quoted(const char *from, char **to, enum quoting quoting)
{
    char quote = *from++;
    while (*from != '\0' && stands_for_itself(*from, quote, quoting))
        *(*to)++ = *from++;
    return *from == quote ? from + 1 : NULL;
}

/* Copies one word; NULL if a shell would do more than that. */
static const char *copy_word(const char *from, char **to, enum quoting quoting)
{
    /* zsh expands `=command` at a word's start. */
    if (*from == '=' && quoting == AS_EVERY_SHELL)
        return NULL;
    while (from != NULL && *from != '\0' && !is_blank(*from) && *from != '\n') {
        if (*from == '\'' || *from == '"') {
            from = copy_quoted(from, to, quoting);
        } else if (is_plain(*from) || (quoting == AS_CLIENT && (unsigned char)*from >= 0x80)) {
            *(*to)++ = *from++;
        } else if (quoting == AS_CLIENT && *from == '\\' && is_text(from[1], quoting)) {
            *(*to)++ = from[1];
            from += 2;
        } else {
            return NULL;
        }
    }
    *(*to)++ = '\0';
    return from;
}

static size_t split(const char *text, char *storage, char **words, size_t capacity,
                    enum quoting quoting)
{
    size_t count = 0;
    while (is_blank(*text) || *text == '\n')
        text++;
    while (*text != '\0' && *text != '\n') {
        if (count + 1 >= capacity)
            return 0;
        words[count++] = storage;
        text = copy_word(text, &storage, quoting);
        if (text == NULL)
            return 0;
        while (is_blank(*text))
            text++;
    }
    while (*text == '\n' || is_blank(*text))
        text++;
    words[count] = NULL;
    return *text == '\0' ? count : 0;
}

size_t split_words(const char *text, char *storage, char **words, size_t capacity)
{
    return split(text, storage, words, capacity, AS_EVERY_SHELL);
}

bool shell_knows(const char *name)
{
    static const char *const known[] = {
        ".", ":", "-", "alias", "always", "autoload", "bg", "bind", "bindkey", "break", "builtin",
        "bye", "caller", "case", "cat", "cd", "chdir", "clone", "command", "comparguments",
        "compcall", "compctl", "compdescribe", "compfiles", "compgen", "compgroups", "complete",
        "compopt", "compquote", "comptags", "comptry", "compvalues", "continue", "coproc",
        "declare", "dirs", "disable", "disown", "do", "done", "echo", "echotc", "echoti", "elif",
        "else", "emulate", "enable", "end", "enum", "esac", "eval", "exec", "exit", "export",
        "false", "fc", "fg", "fi", "float", "for", "foreach", "function", "functions", "getcap",
        "getconf", "getln", "getopts", "hash", "help", "hist", "history", "if", "in", "integer",
        "jobs", "kill", "let", "limit", "local", "log", "logout", "mapfile", "mknod", "mkdir",
        "nameref", "namespace", "nocorrect", "noglob", "popd", "print", "printf", "private",
        "pushd", "pushln", "pwd", "r", "read", "readarray", "readonly", "rehash", "rename",
        "repeat", "return", "sched", "select", "set", "setcap", "setopt", "shift", "shopt",
        "sleep", "source", "stat", "stop", "strftime", "suspend", "sync", "sysopen", "sysread",
        "sysseek", "syserror", "syswrite", "test", "then", "time", "times", "trap", "true",
        "ttyctl", "type", "typeset", "ulimit", "umask", "unalias", "unfunction", "unhash",
        "unlimit", "unset", "unsetopt", "until", "vared", "vmap", "vpath", "wait", "whence",
        "where", "which", "while", "whoami", "zcompile", "zcurses", "zdelattr", "zf_ln", "zformat",
        "zftp", "zgetattr", "zle", "zlistattr", "zmodload", "zparseopts", "zprof", "zpty",
        "zregexparse", "zselect", "zsetattr", "zsocket", "zstat", "zstyle", "zsystem", "ztcp",
    };
    for (size_t i = 0; i < sizeof known / sizeof *known; i++)
        if (strcmp(name, known[i]) == 0)
            return true;
    return false;
}

/* A first word that names a program and nothing else: no option, assignment, job or number. */
static bool is_program_name(const char *word)
{
    bool starts_well = (*word >= 'a' && *word <= 'z') || (*word >= 'A' && *word <= 'Z') ||
                       *word == '/' || *word == '.' || *word == '_';
    for (const char *c = word; *c != '\0'; c++)
        if (!is_plain(*c) || *c == '=' || *c == '%')
            return false;
    return starts_well && !shell_knows(word);
}

static bool is_executable_file(const char *path)
{
    struct stat status;
    return stat(path, &status) == 0 && S_ISREG(status.st_mode) && access(path, X_OK) == 0;
}

bool find_program(const char *name, const char *path, char *found, size_t capacity)
{
    struct text candidate;
    if (strchr(name, '/') != NULL) {
        candidate = text_in(found, capacity);
        text_add(&candidate, name);
        return !candidate.cut;
    }
    /* Shells spell what they find in an empty, relative or slash-ended entry each in their own way. */
    while (path != NULL && *path == '/') {
        const char *end = strchr(path, ':');
        size_t length = end == NULL ? strlen(path) : (size_t)(end - path);
        if (path[length - 1] == '/' || memchr(path, '%', length) != NULL)
            return false;
        candidate = text_in(found, capacity);
        text_bytes(&candidate, path, length);
        text_add(&candidate, "/");
        text_add(&candidate, name);
        if (candidate.cut)
            return false;
        if (is_executable_file(found))
            return true;
        path = end == NULL ? NULL : end + 1;
    }
    return false;
}

/* True unless the environment makes shells do something at their start or at a command's. */
static bool environment_is_plain(char **environment)
{
    static const char *const telling[] = {"BASH_FUNC_", "BASH_ENV=", "ENV=", "SHELLOPTS=",
                                          "BASHOPTS=", "ZDOTDIR="};
    for (; *environment != NULL; environment++)
        for (size_t i = 0; i < sizeof telling / sizeof *telling; i++)
            if (strncmp(*environment, telling[i], strlen(telling[i])) == 0)
                return false;
    return true;
}

/* ------------------------------------------------------------------ the user's earlier prefix */

static void add_quoted(struct text *text, const char *string, size_t length)
{
    text_add(text, "'");
    for (size_t i = 0; i < length; i++)
        if (string[i] == '\'')
            text_add(text, "'\"'\"'");
        else
            text_bytes(text, string + i, 1);
    text_add(text, "'");
}

static bool all_plain(const char *string, size_t length)
{
    for (size_t i = 0; i < length; i++)
        if (!is_plain(string[i]))
            return false;
    return length > 0;
}

/* Writes `<prefix> '<command>'` as the client does: what follows the last " -" of the prefix are
 * its arguments, everything before one program's path. */
static char *prefixed(const char *prefix, const char *command)
{
    size_t capacity = 5 * (strlen(prefix) + strlen(command)) + 16;
    char *buffer = take(capacity);
    if (buffer == NULL)
        return NULL;
    const char *options = NULL;
    for (const char *at = strstr(prefix, " -"); at != NULL; at = strstr(at + 1, " -"))
        options = at;
    size_t length = options == NULL ? strlen(prefix) : (size_t)(options - prefix);
    struct text text = text_in(buffer, capacity);
    if (all_plain(prefix, length))
        text_bytes(&text, prefix, length);
    else
        add_quoted(&text, prefix, length);
    text_add(&text, options == NULL ? "" : options);
    text_add(&text, " ");
    add_quoted(&text, command, strlen(command));
    return buffer;
}

/* ------------------------------------------------------------------------------ the environment */

static bool names(const char *entry, const char *name)
{
    size_t length = strlen(name);
    return strncmp(entry, name, length) == 0 && entry[length] == '=';
}

static char *assignment(const char *name, const char *value)
{
    size_t capacity = strlen(name) + strlen(value) + 2;
    char *buffer = take(capacity);
    if (buffer == NULL)
        return NULL;
    struct text text = text_in(buffer, capacity);
    text_add(&text, name);
    text_add(&text, "=");
    text_add(&text, value);
    return buffer;
}

/* Returns a copy of `environment` with our run id, in place if there is one already. bash and zsh
 * leave in `_` the path of what they execute: where they left ours, the child is to find its own. */
static char **environment_for(char **environment, const struct call *call, const char *executed)
{
    size_t count = 0;
    while (environment[count] != NULL)
        count++;
    char **copy = take((count + 2) * sizeof *copy);
    char *run = call->run == NULL ? NULL : assignment("BETTER_CLAUDE_RUN", call->run);
    char *last = assignment("_", executed);
    if (copy == NULL || last == NULL || (call->run != NULL && run == NULL))
        return NULL;
    bool has_run = run == NULL;
    for (size_t i = 0; i < count; i++) {
        copy[i] = environment[i];
        if (names(copy[i], "_") && strcmp(copy[i] + 2, call->self) == 0)
            copy[i] = last;
        if (run != NULL && names(copy[i], "BETTER_CLAUDE_RUN")) {
            copy[i] = run;
            has_run = true;
        }
    }
    if (!has_run)
        copy[count++] = run;
    copy[count] = NULL;
    return copy;
}

/* -------------------------------------------------------------------------------------- the plan */

static const char *first_executable(const char *const *paths)
{
    for (; *paths != NULL; paths++)
        if (access(*paths, X_OK) == 0)
            return *paths;
    return "/bin/sh";
}

/* The shell that the client runs tools with: the one whose snapshot the command reads. */
static const char *tool_shell(const char *command)
{
    static const char *const bash[] = {"/bin/bash", "/usr/bin/bash", "/usr/local/bin/bash",
                                       "/opt/homebrew/bin/bash", "/bin/zsh", "/usr/bin/zsh", NULL};
    static const char *const zsh[] = {"/bin/zsh", "/usr/bin/zsh", "/usr/local/bin/zsh",
                                      "/opt/homebrew/bin/zsh", NULL};
    bool wants_zsh = strstr(command, "/shell-snapshots/snapshot-zsh-") != NULL;
    const char *kind = wants_zsh ? "zsh" : "bash";
    const char *const names[] = {"CLAUDE_CODE_SHELL", "SHELL"};
    for (size_t i = 0; i < 2; i++) {
        const char *shell = getenv(names[i]);
        const char *base = shell == NULL ? NULL : strrchr(shell, '/');
        if (base != NULL && strstr(base, kind) != NULL && access(shell, X_OK) == 0)
            return shell;
    }
    return first_executable(wants_zsh ? zsh : bash);
}

static const char *shell_for(const struct call *call, const char *command)
{
    if (call->mode == MODE_TOOL)
        return tool_shell(command);
    return call->parent_shell[0] == '/' ? call->parent_shell : "/bin/sh";
}

/* Decides whether the command can do without a shell. A server never had one. */
static bool plan_words(struct plan *plan, const struct call *call, const char *command)
{
    static char *words[WORDS_MAX];
    bool is_server = call->mode == MODE_SERVER;
    size_t length = strlen(command);
    char *storage = length < SIMPLE_MAX ? take(length + 1) : NULL;
    if (storage == NULL ||
        split(command, storage, words, WORDS_MAX, is_server ? AS_CLIENT : AS_EVERY_SHELL) == 0)
        return false;
    plan->words = words;
    return is_server || is_program_name(words[0]);
}

static void plan_program(struct plan *plan, const struct call *call, char **environment)
{
    static char program[PROGRAM_MAX];
    bool plain = call->mode == MODE_SERVER || call->argument_count > 1 ||
                 environment_is_plain(environment);
    if (plain && find_program(plan->words[0], getenv("PATH"), program, sizeof program))
        plan->program = program;
}

/* Joins several arguments to the text that a shell would need to do the same. */
static char *joined(const struct call *call)
{
    size_t capacity = 1;
    for (size_t i = 0; i < call->argument_count; i++)
        capacity += 5 * strlen(call->arguments[i]) + 3;
    char *buffer = take(capacity);
    if (buffer == NULL)
        return NULL;
    struct text text = text_in(buffer, capacity);
    for (size_t i = 0; i < call->argument_count; i++) {
        text_add(&text, i == 0 ? "" : " ");
        add_quoted(&text, call->arguments[i], strlen(call->arguments[i]));
    }
    return buffer;
}

bool make_plan(struct plan *plan, const struct call *call, char **environment)
{
    const char *prefix = getenv("BETTER_CLAUDE_PREFIX");
    bool is_one = call->argument_count == 1;
    char *command = is_one ? call->arguments[0] : joined(call);
    if (command != NULL && is_one && prefix != NULL && prefix[0] != '\0')
        command = prefixed(prefix, command);
    if (command == NULL)
        return false;
    *plan = (struct plan){.shell = shell_for(call, command)};
    plan->shell_words[0] = (char *)plan->shell;
    plan->shell_words[1] = "-c";
    plan->shell_words[2] = command;
    if (!is_one)
        plan->words = call->arguments;
    if (!is_one || (call->mode != MODE_TOOL && plan_words(plan, call, command)))
        plan_program(plan, call, environment);
    if (plan->program != NULL)
        plan->program_environment = environment_for(environment, call, plan->program);
    plan->shell_environment = environment_for(environment, call, plan->shell);
    return plan->shell_environment != NULL;
}

int execute(const struct plan *plan)
{
    if (plan->program != NULL && plan->program_environment != NULL)
        execve(plan->program, plan->words, plan->program_environment);
    execve(plan->shell, plan->shell_words, plan->shell_environment);
    return errno == ENOENT ? EXIT_NOT_FOUND : EXIT_NOT_EXECUTABLE;
}
