"""From two readings to a sample, and from samples and captures to the store."""
