"""One file an answer: what is asked of the history, and what it says."""
