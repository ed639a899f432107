"""Metrics of this node, from its agent to whoever scrapes the API: by a file, for the agent serves nothing."""
