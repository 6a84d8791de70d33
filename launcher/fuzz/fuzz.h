/* What every fuzz target has in common: libFuzzer's entry point, and a check that cannot be
 * compiled away. `fuzz.c` drives a target without libFuzzer. */
#ifndef FUZZ_H
#define FUZZ_H

#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t length);

/* Inputs to start from, ended by NULL, and pieces from which mutations take what chance would not find. */
extern const char *const fuzz_seeds[];
extern const char *const fuzz_words[];

#define CHECK(condition)                                                                           \
    do {                                                                                           \
        if (!(condition)) {                                                                        \
            fprintf(stderr, "%s:%d: broken: %s\n", __FILE__, __LINE__, #condition);                \
            abort();                                                                               \
        }                                                                                          \
    } while (0)

#endif
