"""The command line; importing it adds every verb to the group, and each verb imports what it needs when it runs."""

from service.cli import ask, install, keep, look, serve, ship, walk
from service.cli.entry import main
from service.cli.group import cli

__all__ = ["ask", "cli", "install", "keep", "look", "main", "serve", "ship", "walk"]
