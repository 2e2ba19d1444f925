"""Many nodes' real cores under a simulated clock, network and disk, replayable from a seed."""
