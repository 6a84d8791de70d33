"""Records as JSON Lines: one object a record, inert on a terminal; docs/formats.md names fields."""

import msgspec

from better_claude.show.text import escape_unprintable


def json_line(record: object, sample: bool = False) -> str:
    """Return ``record``, a struct or a mapping, as one line of JSON without its line break.

    A record of the sample session carries ``"sample":true``, so that no program mistakes it for a
    measurement of the user's own work.
    """
    fields = msgspec.to_builtins(record)
    if sample:
        fields = {**fields, "sample": True}
    try:
        return escape_unprintable(msgspec.json.encode(fields).decode("utf-8"))
    except UnicodeEncodeError:
        # A file's name need not be UTF-8: Python keeps its bytes as lone surrogates.
        import json

        return json.dumps(fields, separators=(",", ":"))
