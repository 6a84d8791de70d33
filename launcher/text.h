/* Bounded text without stdio: printf's machinery is larger than the launcher. */
#ifndef TEXT_H
#define TEXT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Owns nothing; `at` stays NUL-terminated. What does not fit is dropped and remembered in `cut`. */
struct text {
    char *at;
    size_t length, capacity;
    bool cut;
};

struct text text_in(char *buffer, size_t capacity);
void text_bytes(struct text *text, const char *bytes, size_t length);
void text_add(struct text *text, const char *string);
void text_number(struct text *text, uint64_t number);
void text_hex(struct text *text, uint64_t number, int digits);

/* Adds `string` as UTF-8, cut to `limit` bytes at a character's end; bytes that are not UTF-8 and
 * control characters become U+FFFD. */
void text_clean(struct text *text, const char *string, size_t limit);
/* The same as the inside of a JSON string. */
void text_json(struct text *text, const char *string, size_t limit);

/* Reads exactly `length` decimal digits; false for anything else and on overflow. */
bool number_from(const char *digits, size_t length, uint64_t *number);

uint32_t crc32_of(const char *bytes, size_t length);
uint64_t fnv1a_of(const char *bytes, size_t length);

#endif
