/* Runs a fuzz target over mutations of its seeds: `fuzz <inputs> [<seed>]`, or over files:
 * `fuzz <file>…`. The same seed makes the same inputs on every machine. The input at work is kept
 * in $FUZZ_INPUT (a file), if that is set, so that a crash can be repeated. */
#include "fuzz.h"

#include <fcntl.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#define INPUT_MAX 1024
#define POOL_MAX 512

struct input {
    size_t length;
    uint8_t bytes[INPUT_MAX];
};

static uint64_t state;

/* xorshift64* (Vigna 2016). */
static uint64_t next_random(void)
{
    state ^= state >> 12;
    state ^= state << 25;
    state ^= state >> 27;
    return state * UINT64_C(0x2545F4914F6CDD1D) >> 16;
}

static size_t below(size_t limit)
{
    return limit == 0 ? 0 : (size_t)(next_random() % limit);
}

static void insert(struct input *input, size_t at, const uint8_t *bytes, size_t length)
{
    if (length > INPUT_MAX - input->length)
        length = INPUT_MAX - input->length;
    memmove(input->bytes + at + length, input->bytes + at, input->length - at);
    memcpy(input->bytes + at, bytes, length);
    input->length += length;
}

static void cut(struct input *input, size_t at, size_t length)
{
    if (length > input->length - at)
        length = input->length - at;
    memmove(input->bytes + at, input->bytes + at + length, input->length - at - length);
    input->length -= length;
}

static void insert_word(struct input *input, size_t at)
{
    size_t count = 0;
    while (fuzz_words[count] != NULL)
        count++;
    const char *word = fuzz_words[below(count)];
    insert(input, at, (const uint8_t *)word, strlen(word));
}

static void mutate(struct input *input, const struct input *other)
{
    uint8_t byte = (uint8_t)next_random();
    size_t at = below(input->length + 1), length = below(16) + 1;
    switch (below(9)) {
    case 0:
        if (at < input->length)
            input->bytes[at] = byte;
        return;
    case 1:
        if (at < input->length)
            input->bytes[at] ^= (uint8_t)(1 << below(8));
        return;
    case 2:
        insert(input, at, &byte, 1);
        return;
    case 3:
        cut(input, at, length);
        return;
    case 4:
    case 5:
        insert_word(input, at);
        return;
    case 6: { /* a piece of another input */
        size_t from = below(other->length + 1);
        size_t rest = other->length - from;
        insert(input, at, other->bytes + from, rest < 64 ? rest : below(64));
        return;
    }
    case 7: { /* the same piece again and again: depth, long texts */
        struct input piece = *input;
        size_t from = below(piece.length + 1), rest = piece.length - from;
        for (size_t n = below(24); n > 0; n--)
            insert(input, at, piece.bytes + from, rest < length ? rest : length);
        return;
    }
    default:
        input->length = at; /* cut short */
    }
}

/* Runs the target on a heap copy of exactly the input's size, so that ASan sees one byte too far. */
static void run(const uint8_t *bytes, size_t length)
{
    uint8_t *copy = malloc(length == 0 ? 1 : length);
    if (copy == NULL)
        abort();
    memcpy(copy, bytes, length);
    LLVMFuzzerTestOneInput(copy, length);
    free(copy);
}

static int run_file(const char *path)
{
    static uint8_t bytes[1 << 20];
    FILE *file = fopen(path, "rb");
    if (file == NULL)
        return 1;
    size_t length = fread(bytes, 1, sizeof bytes, file);
    fclose(file);
    run(bytes, length);
    return 0;
}

/* A shared mapping: what stands in it is in the file even if the process dies at once. */
static struct input *open_trace(void)
{
    const char *path = getenv("FUZZ_INPUT");
    if (path == NULL)
        return NULL;
    int file = open(path, O_RDWR | O_CREAT | O_TRUNC, 0600);
    if (file < 0 || ftruncate(file, sizeof(struct input)) != 0)
        return NULL;
    void *at = mmap(NULL, sizeof(struct input), PROT_READ | PROT_WRITE, MAP_SHARED, file, 0);
    close(file);
    return at == MAP_FAILED ? NULL : at;
}

static size_t load_seeds(struct input *pool)
{
    size_t count = 0;
    for (; fuzz_seeds[count] != NULL && count < POOL_MAX; count++) {
        size_t length = strlen(fuzz_seeds[count]);
        pool[count].length = length < INPUT_MAX ? length : INPUT_MAX;
        memcpy(pool[count].bytes, fuzz_seeds[count], pool[count].length);
    }
    return count;
}

int main(int count, char **words)
{
    static struct input pool[POOL_MAX];
    char *end = NULL;
    unsigned long long inputs = count > 1 ? strtoull(words[1], &end, 10) : 0;
    if (count > 1 && *end != '\0') {
        int status = 0;
        for (int i = 1; i < count; i++)
            status |= run_file(words[i]);
        return status;
    }
    state = (count > 2 ? strtoull(words[2], NULL, 10) : 0) ^ UINT64_C(0x9E3779B97F4A7C15);
    size_t seeds = load_seeds(pool), filled = seeds;
    struct input *trace = open_trace();
    for (unsigned long long i = 0; i < inputs; i++) {
        struct input input = pool[below(filled)];
        for (size_t n = below(5) + 1; n > 0; n--)
            mutate(&input, &pool[below(filled)]);
        if (trace != NULL)
            *trace = input;
        run(input.bytes, input.length);
        /* The pool wanders off from the seeds, which themselves stay. */
        if (below(16) == 0)
            pool[filled < POOL_MAX ? filled++ : seeds + below(POOL_MAX - seeds)] = input;
    }
    printf("%llu inputs\n", inputs);
    return 0;
}
