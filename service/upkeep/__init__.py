"""Damage and copies: recovery, salvage, archive, checks."""
