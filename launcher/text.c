#include "text.h"

#include <string.h>

struct text text_in(char *buffer, size_t capacity)
{
    buffer[0] = '\0';
    return (struct text){.at = buffer, .capacity = capacity};
}

void text_bytes(struct text *text, const char *bytes, size_t length)
{
    size_t room = text->capacity - text->length - 1;
    if (length > room) {
        text->cut = true;
        length = room;
    }
    memcpy(text->at + text->length, bytes, length);
    text->length += length;
    text->at[text->length] = '\0';
}

void text_add(struct text *text, const char *string)
{
    text_bytes(text, string, strlen(string));
}

void text_number(struct text *text, uint64_t number)
{
    char digits[20];
    size_t first = sizeof digits;
    do {
        digits[--first] = (char)('0' + number % 10);
        number /= 10;
    } while (number != 0);
    text_bytes(text, digits + first, sizeof digits - first);
}

void text_hex(struct text *text, uint64_t number, int digits)
{
    while (digits-- > 0)
        text_bytes(text, &"0123456789abcdef"[number >> (4 * digits) & 15], 1);
}

/* Returns the length of the well-formed UTF-8 character at `s` (RFC 3629), or 0. */
static size_t utf8_length(const unsigned char *s)
{
    if (s[0] < 0x80)
        return 1;
    size_t length = s[0] >= 0xF0 ? 4 : s[0] >= 0xE0 ? 3 : 2;
    if (s[0] < 0xC2 || s[0] > 0xF4)
        return 0;
    for (size_t i = 1; i < length; i++)
        if ((s[i] & 0xC0) != 0x80)
            return 0;
    bool overlong = (s[0] == 0xE0 && s[1] < 0xA0) || (s[0] == 0xF0 && s[1] < 0x90);
    bool surrogate = s[0] == 0xED && s[1] > 0x9F;
    bool beyond = s[0] == 0xF4 && s[1] > 0x8F;
    return overlong || surrogate || beyond ? 0 : length;
}

/* Takes one character off `*from`: what may stand in a record or on a terminal, else U+FFFD. */
static size_t take_character(const char **from, const char **shown)
{
    const unsigned char *s = (const unsigned char *)*from;
    size_t length = utf8_length(s);
    bool bad = length == 0 || *s < 0x20 || *s == 0x7F || (*s == 0xC2 && s[1] < 0xA0);
    *shown = bad ? "\xEF\xBF\xBD" : *from;
    *from += length == 0 ? 1 : length;
    return bad ? 3 : length;
}

void text_clean(struct text *text, const char *string, size_t limit)
{
    const char *shown;
    for (size_t used = 0, length; *string != '\0' && used < limit; used += length) {
        length = take_character(&string, &shown);
        if (used + length > limit)
            return;
        text_bytes(text, shown, length);
    }
}

void text_json(struct text *text, const char *string, size_t limit)
{
    const char *shown;
    for (size_t used = 0, length; *string != '\0' && used < limit; used += length) {
        length = take_character(&string, &shown);
        if (used + length > limit)
            return;
        if (*shown == '"' || *shown == '\\')
            text_add(text, "\\");
        text_bytes(text, shown, length);
    }
}

bool number_from(const char *digits, size_t length, uint64_t *number)
{
    uint64_t value = 0;
    if (length == 0 || length > 18) /* 18 digits cannot overflow */
        return false;
    for (size_t i = 0; i < length; i++) {
        if (digits[i] < '0' || digits[i] > '9')
            return false;
        value = value * 10 + (uint64_t)(digits[i] - '0');
    }
    *number = value;
    return true;
}

uint32_t crc32_of(const char *bytes, size_t length)
{
    /* A table of 16 instead of 256: 64 bytes of program against 1 KB, and a record is short. */
    static const uint32_t table[16] = {
        0x00000000, 0x1DB71064, 0x3B6E20C8, 0x26D930AC, 0x76DC4190, 0x6B6B51F4,
        0x4DB26158, 0x5005713C, 0xEDB88320, 0xF00F9344, 0xD6D6A3E8, 0xCB61B38C,
        0x9B64C2B0, 0x86D3D2D4, 0xA00AE278, 0xBDBDF21C,
    };
    uint32_t crc = 0xFFFFFFFF;
    for (size_t i = 0; i < length; i++) {
        crc ^= (unsigned char)bytes[i];
        crc = crc >> 4 ^ table[crc & 15];
        crc = crc >> 4 ^ table[crc & 15];
    }
    return ~crc;
}

uint64_t fnv1a_of(const char *bytes, size_t length)
{
    uint64_t hash = 0xCBF29CE484222325;
    for (size_t i = 0; i < length; i++)
        hash = (hash ^ (unsigned char)bytes[i]) * 0x100000001B3;
    return hash;
}
