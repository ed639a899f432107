"""The HTTP faces: `/v1` for customers' tools, `/admin/v1` for operators, probes, and `/metrics`."""

from app.api.app import create_api
from app.api.deps import AgentMetrics, ApiDeps, ApiSettings

__all__ = ["AgentMetrics", "ApiDeps", "ApiSettings", "create_api"]
