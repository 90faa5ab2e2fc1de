"""Training recipes that are right on any number of processes."""
