"""What the machine is doing now; alone touches psutil and /proc."""
