"""A whole Holdfast cluster on one machine, from real parts: namespaces as nodes, real daemons in them."""
