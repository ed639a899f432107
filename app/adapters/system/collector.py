"""Python's cyclic garbage collector in a process that starts once and then runs for months.

It is called after so many allocations, and a start allocates much and frees little: it is off meanwhile, which saves an
eighth of the start. What is there then stays for good. Each full collection would look at all of it, for a tenth of a
second on a slow machine, in which the agent decides nothing; so it is told to leave that alone.
"""

import gc


def collect_later() -> None:
    """From the first import on; `collect_again` must follow."""
    gc.disable()


def collect_again() -> None:
    """The process is up: collect what comes from now on."""
    gc.freeze()
    gc.enable()
