"""What goes wrong around the nodes themselves."""


class NodeError(Exception):
    """A command on a node, or about one, failed. The text says which and what it printed."""
