"""The HTTP faces: `/v1` for customers' tools, `/admin/v1` for operators, and the probes of load balancers."""

from app.api.app import create_api
from app.api.deps import ApiDeps, ApiSettings

__all__ = ["ApiDeps", "ApiSettings", "create_api"]
