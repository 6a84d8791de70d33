/* The splitter that decides whether a command needs a shell. */
#include "command.h"

#include <string.h>

#include "fuzz.h"

const char *const fuzz_seeds[] = {
    "python3 /x/guard.py 'a b' \"c d\"", "/bin/echo a b c", "\"$CLAUDE_PROJECT_DIR\"/.claude/hooks/x.sh",
    "node hook.js --flag=1", "a 'b'\"c\"d\\ e", "  x\t'' \"\" ", "A=1 b", "if true; then x; fi", "=x y", NULL,
};
const char *const fuzz_words[] = {
    "'", "\"", "\\", " ", "\t", "\n", "$", "`", "|", "&", ";", "<", ">", "(", ")", "{", "}", "~", "#", "*", "?",
    "[", "]", "!", "=", "%", "''", "\"\"", "'a b'", "\"a b\"", "word", "\x81", "\xff", "\x01", NULL,
};

/* True if `c` may stand in a word that no quotes protect. */
static int is_special(char c)
{
    return strchr("$`|&;<>(){}*?[]#~!\\^", c) != NULL && c != '\0';
}

static size_t split(const char *text, size_t capacity)
{
    char *storage = malloc(strlen(text) + 1);
    char **words = malloc(capacity * sizeof *words);
    CHECK(storage != NULL && words != NULL);
    size_t count = split_words(text, storage, words, capacity), total = 0;
    CHECK(count <= capacity);
    for (size_t i = 0; i < count; i++) {
        CHECK(words[i] >= storage && words[i] <= storage + strlen(text));
        total += strlen(words[i]) + 1;
    }
    CHECK(total <= strlen(text) + 1);
    if (count > 0)
        (void)shell_knows(words[0]);
    free(words);
    free(storage);
    return count;
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t length)
{
    char *text = malloc(length + 1);
    CHECK(text != NULL);
    memcpy(text, bytes, length);
    text[length] = '\0';
    size_t count = split(text, WORDS_MAX);
    (void)split(text, 4);
    /* Without quotes, nothing that a shell would interpret may pass for a plain word. */
    if (strpbrk(text, "'\"") == NULL)
        for (const char *c = text; count > 0 && *c != '\0'; c++)
            CHECK(!is_special(*c));
    free(text);
    return 0;
}
