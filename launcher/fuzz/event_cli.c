/* Reads events in any pieces and prints what was understood, for comparison with another parser.
 *
 * On stdin, again and again: a byte 'e' (event) or 'a' (answer), the number of pieces, and each piece
 * behind its length (32 bit, this machine's order). On stdout for each: for 'e' the seven texts, each behind its
 * length, and a byte is_jsonrpc; for 'a' the bytes is_object, is_async, is_blocking. */
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "event.h"

static uint32_t read_number(void)
{
    uint32_t number;
    if (fread(&number, sizeof number, 1, stdin) != 1)
        exit(2);
    return number;
}

static char *read_piece(uint32_t *length)
{
    *length = read_number();
    char *piece = malloc(*length == 0 ? 1 : *length);
    if (piece == NULL || fread(piece, 1, *length, stdin) != *length)
        exit(2);
    return piece;
}

static void write_text(const char *text)
{
    uint32_t length = (uint32_t)strlen(text);
    fwrite(&length, sizeof length, 1, stdout);
    fwrite(text, 1, length, stdout);
}

static void read_event(uint32_t pieces)
{
    struct event event;
    event_init(&event);
    for (; pieces > 0; pieces--) {
        uint32_t length;
        char *piece = read_piece(&length);
        event_feed(&event, piece, length);
        free(piece);
    }
    const char *texts[] = {event.name,   event.session, event.tool,      event.tool_use,
                           event.prompt, event.agent,   event.agent_type};
    for (size_t i = 0; i < sizeof texts / sizeof *texts; i++)
        write_text(texts[i]);
    putchar(event.is_jsonrpc);
}

static void read_answer(void)
{
    uint32_t length;
    char *piece = read_piece(&length);
    struct answer answer = answer_read(piece, length);
    free(piece);
    putchar(answer.is_object);
    putchar(answer.is_async);
    putchar(answer.is_blocking);
}

int main(void)
{
    for (int kind = getchar(); kind != EOF; kind = getchar()) {
        uint32_t pieces = read_number();
        if (kind == 'e')
            read_event(pieces);
        else
            read_answer();
        fflush(stdout);
    }
    return 0;
}
