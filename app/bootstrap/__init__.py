"""The only place that builds adapters and wires them together: state, parts, the agent, the API.

Each room imports what it wires and nothing else: the agent must be back quickly when it is started again, for its
watchdog waits.
"""
