"""How fast and how small Tidemark is: `run.py` prints one table; `generate.py` writes the histories it measures on."""
