"""Entry point of the ``better-claude`` command."""

from better_claude.commands import main

if __name__ == "__main__":
    raise SystemExit(main())
