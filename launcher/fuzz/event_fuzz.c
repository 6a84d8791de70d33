/* The readers of the client's event and of the hook's answer, and what a record makes of their texts. */
#include "event.h"

#include <string.h>

#include "fuzz.h"
#include "text.h"

const char *const fuzz_seeds[] = {
    "{\"session_id\":\"7543064f\",\"transcript_path\":\"/t.jsonl\",\"cwd\":\"/p\",\"prompt_id\":\"d20a970b\","
    "\"permission_mode\":\"default\",\"effort\":{\"level\":\"medium\"},\"hook_event_name\":\"PreToolUse\","
    "\"tool_name\":\"Bash\",\"tool_input\":{\"command\":\"echo $0\",\"description\":\"x\"},\"tool_use_id\":\"toolu_0\"}",
    "{\"hook_event_name\":\"SubagentStop\",\"agent_id\":\"a1\",\"agent_type\":\"b\",\"stop_hook_active\":false}",
    "{\"hook_event_name\":\"PostToolUse\",\"tool_response\":[{\"a\":[1,2.5e-3,null,true]},{}],\"duration_ms\":12}",
    "{\"jsonrpc\":\"2.0\",\"id\":0,\"method\":\"initialize\",\"params\":{\"hook_event_name\":\"Stop\"}}",
    "{\"decision\":\"block\",\"reason\":\"no\"}",
    "{\"hookSpecificOutput\":{\"hookEventName\":\"PreToolUse\",\"permissionDecision\":\"deny\"}}",
    "{\"continue\":false,\"stopReason\":\"\\u00e9\\ud83d\\ude00\\n\"}",
    "{\"async\":true}",
    " \r\n\t{ \"tool_name\" : \"\\\"\\\\\\/\\b\\f\\n\\r\\t\\u0000\\ud800\" } ",
    "[]",
    "",
    NULL,
};
const char *const fuzz_words[] = {
    "{", "}", "[", "]", ":", ",", "\"", "\\", "\\u", "\\ud83d\\ude00", "\\ud800", "\\udc00",
    "\\u0000", "\\\"", "\"hook_event_name\":", "\"tool_name\":", "\"session_id\":", "\"prompt_id\":",
    "\"tool_use_id\":", "\"agent_id\":", "\"agent_type\":", "\"jsonrpc\":\"2.0\",", "\"decision\":\"block\",",
    "\"hookSpecificOutput\":{", "\"permissionDecision\":\"deny\"", "\"async\":true,", "true", "false",
    "null", "-1.5e+10", "[[[[[[[[[[[[[[[[", "{\"a\":{\"a\":{\"a\":{\"a\":", "}}}}", "\xff", "\xc3", "\xf0\x9f\x98\x80",
    "xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx",
    NULL,
};

/* Every text ends, and is none of JSON's own once it stands in a record. */
static void check_text(const char *value)
{
    CHECK(strnlen(value, SCAN_VALUE_MAX + 1) <= SCAN_VALUE_MAX);
    char room[2 * 256 + 8];
    struct text text = text_in(room, sizeof room);
    text_json(&text, value, 256);
    CHECK(!text.cut && text.length <= 2 * 256);
    for (size_t i = 0; i < text.length; i++)
        CHECK((unsigned char)room[i] >= 0x20 && room[i] != 0x7F);
}

static const char *text_of(const struct event *event, int index)
{
    const char *texts[] = {event->name,   event->session, event->tool,      event->tool_use,
                           event->prompt, event->agent,   event->agent_type};
    return texts[index];
}

/* The same bytes in any pieces mean the same. */
static void check_pieces(const struct event *whole, const uint8_t *bytes, size_t length, size_t step)
{
    struct event event;
    event_init(&event);
    for (size_t at = 0; at < length; at += step)
        event_feed(&event, (const char *)bytes + at, length - at < step ? length - at : step);
    CHECK(event.is_jsonrpc == whole->is_jsonrpc);
    CHECK(scan_complete(&event.scan) == scan_complete(&whole->scan));
    for (int i = 0; i < 7; i++)
        CHECK(strcmp(text_of(&event, i), text_of(whole, i)) == 0);
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t length)
{
    struct event event;
    event_init(&event);
    event_feed(&event, (const char *)bytes, length);
    for (int i = 0; i < 7; i++)
        check_text(text_of(&event, i));
    check_pieces(&event, bytes, length, 1);
    check_pieces(&event, bytes, length, 1 + length / 3);
    struct answer answer = answer_read((const char *)bytes, length);
    CHECK(answer.is_object || (!answer.is_blocking && !answer.is_async));
    /* What is no whole object is none however it goes on being none: a prefix never blocks. */
    if (length > 0 && answer.is_object && bytes[length - 1] == '}')
        CHECK(!answer_read((const char *)bytes, length - 1).is_object);
    return 0;
}
