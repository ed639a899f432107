"""Holdfast: a self-healing KVM cloud on a rack of Debian servers."""
