"""The HTTP faces: `/v1` for customers' tools, `/admin/v1` for operators, probes, and `/metrics`."""

from app.api.app import create_api
from app.api.deps import AgentMetrics, ApiDeps, ApiSettings
from app.api.server import ApiServer

__all__ = ["AgentMetrics", "ApiDeps", "ApiServer", "ApiSettings", "create_api"]
