"""A feature with every kind of contribution, for the test of the plug."""
