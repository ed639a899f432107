"""Fakes of the ports that ship with the product: the simulator runs on them."""
