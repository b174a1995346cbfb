"""One process: starts the parts, runs them on time, stops them."""
