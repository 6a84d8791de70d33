"""The hooks that the client would run: where they stand and what is wrong with them."""
