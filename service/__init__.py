"""Tidemark: a host's resource history that survives restarts."""

__version__ = "0.1.0"
