"""What was measured of models, and for which kinds of work."""
