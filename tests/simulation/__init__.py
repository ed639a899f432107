"""Random faults in virtual time, and bugs put in on purpose that they must find."""
