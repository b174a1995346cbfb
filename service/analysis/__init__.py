"""What numbers mean: pure functions over arrays; no clock, store or log."""
