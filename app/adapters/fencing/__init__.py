"""Fencing methods on real devices."""

from app.adapters.fencing.fence_agents import FenceAgent, FenceDevice

__all__ = ["FenceAgent", "FenceDevice"]
