"""The only loops: facts into the inbox, steps of the pure cores, actions out through ports."""
