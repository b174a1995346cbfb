"""Faults, really injected into a real daemon: kills, power cuts, sick disks, wrong clocks. See docs/reliability.md."""
