"""What the history shows that its owner should know: one room a subject, with rule, thresholds, SQL and words."""
