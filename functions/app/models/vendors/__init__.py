"""The model vendors: where each one is reached, with which key, and the connections to it."""
