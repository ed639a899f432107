"""What stops a set-up."""

from app.domain.errors import DomainError


class SetupFailed(DomainError):
    """A step did not succeed. The text says what, and what to do; the same command goes on from there."""
