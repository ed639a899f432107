"""What can go wrong in the lab."""

from app.domain.errors import DomainError


class LabError(DomainError):
    """The lab cannot do what was asked; the message says why and what to do."""
