"""The history on disk: tables, tiers, the one writer, the readers."""
