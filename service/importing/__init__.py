"""The past of other programs: what sysstat has recorded, taken into the history."""
