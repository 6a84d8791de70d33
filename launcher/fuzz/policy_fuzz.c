/* The reader of the policy. Most inputs get right checksums first: otherwise every mutation would
 * end at the first check. */
#include "policy.h"

#include <string.h>

#include "fuzz.h"
#include "text.h"

const char *const fuzz_seeds[] = {
    "better-claude-policy 1\nglobal grace_ms=100 autostart=1 background_ms=600000\n"
    "event - PreToolUse timeout_ms=2000 memory_bytes=52428800 mode=enforce\n"
    "event - * timeout_ms=60000 memory_bytes=52428800 mode=enforce\nend 3\n",
    "hook - 0123456789abcdef timeout_ms=800\nmatch - *guard.py* mode=observe\n",
    "event 89abcdef01234567 PreToolUse timeout_ms=1000\nhook 89abcdef01234567 0123456789abcdef mode=enforce\n",
    "match 89abcdef01234567 [a-z]*%20? memory_bytes=1\nmatch - %25%0a%00 timeout_ms=0\n",
    "global cgroup=/sys/fs/cgroup/x grace_ms=18446744073709551615\n",
    "event - * timeout_ms=999999999999999999 memory_bytes=1000000000000000000000\n",
    "",
    "\n\n\n *",
    NULL,
};
const char *const fuzz_words[] = {
    " ", "\n", " *", "*", "-", "=", "event ", "hook ", "match ", "global ", "end ", "- ", "PreToolUse ", "* ",
    "0123456789abcdef ", "89abcdef01234567 ", "timeout_ms=", "memory_bytes=", "mode=observe", "mode=enforce",
    "grace_ms=", "autostart=", "background_ms=", "cgroup=", "cgroup_from=", "[", "]", "[!", "\\", "?", "%20", "%2", "%", "%00",
    "18446744073709551616", "99999999999999999", "-1", "0x10", "**************", "[a-", "[[:alpha:]", "\xff",
    NULL,
};

/* Writes `bytes` with a checksum behind each line. */
static size_t sign(char *to, size_t capacity, const uint8_t *bytes, size_t length)
{
    struct text text = text_in(to, capacity);
    while (length > 0) {
        const uint8_t *end = memchr(bytes, '\n', length);
        size_t line = end == NULL ? length : (size_t)(end - bytes);
        text_bytes(&text, (const char *)bytes, line);
        text_bytes(&text, " *", 2);
        text_hex(&text, crc32_of((const char *)bytes, line), 8);
        text_bytes(&text, "\n", 1);
        size_t used = line + (end != NULL);
        bytes += used;
        length -= used;
    }
    return text.length;
}

/* Reads a heap copy of exactly the text's size. */
static struct limits read_policy(const char *bytes, size_t length, const struct subject *subject)
{
    char *copy = malloc(length == 0 ? 1 : length);
    CHECK(copy != NULL);
    memcpy(copy, bytes, length);
    struct policy policy = {.text = copy, .length = length};
    struct policy_global global = policy_global(&policy);
    CHECK(memchr(global.cgroup, '\0', sizeof global.cgroup) != NULL);
    CHECK(memchr(global.cgroup_from, '\0', sizeof global.cgroup_from) != NULL);
    struct limits limits = policy_limits(&policy, subject);
    free(copy);
    return limits;
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t length)
{
    static char room[64 << 10];
    const struct subject subject = {
        .project = "89abcdef01234567",
        .key = "0123456789abcdef",
        .command = "python3 \"$CLAUDE_PROJECT_DIR\"/guard.py a",
        .event = "PreToolUse",
    };
    const struct subject nobody = {.project = "", .key = "", .command = "", .event = ""};
    struct limits built_in = read_policy("", 0, &subject);
    CHECK(built_in.timeout_ms == 2000 && built_in.memory_bytes == 50 << 20 && built_in.enforce);
    /* Without a right checksum nothing counts. Four thousand million to one it is not right by chance. */
    struct limits plain = read_policy((const char *)bytes, length, &subject);
    if (memchr(bytes, '*', length) == NULL)
        CHECK(memcmp(&plain, &built_in, sizeof plain) == 0);
    size_t written = sign(room, sizeof room, bytes, length);
    (void)read_policy(room, written, &subject);
    (void)read_policy(room, written, &nobody);
    /* An end that was cut off takes its own line with it and no other. */
    if (written > 0)
        (void)read_policy(room, written - 1, &subject);
    return 0;
}
