"""The small mind of the simulator: finds a sensible, deterministic answer to a conversation.

Owns language only: no HTTP, no tokens, no clock, no randomness. The same conversation gives the same reply.
"""
