"""Ships the stored history to an engine that takes remote write; imported only where `forward.url` is set."""
