"""Installs the daemon as a service of systemd, and takes it away again; the history stays."""
