"""The HTTP edge, once: how a request comes in and an answer goes out. Knows no feature."""
