"""The command line; importing it adds every verb to the group, and each verb imports what it needs when it runs."""

from service.cli import ask, keep, look, serve, ship
from service.cli.entry import main
from service.cli.group import cli

__all__ = ["ask", "cli", "keep", "look", "main", "serve", "ship"]
