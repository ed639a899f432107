"""The port `Membership` on Corosync: quorum and closed process groups by its C API."""
