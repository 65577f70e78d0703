"""One trial's training: the loop, what the images go through, the process it runs in."""
