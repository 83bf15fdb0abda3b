"""Outgoing connections: the port of bytes, and HTTP over it."""
