"""An OpenAI-compatible model vendor in its own process, with faults on request.

Owns the wire: request shapes, streaming, usage, errors, faults, and a journal of what it did. Refuses to know
anything of the product that calls it: it imports nothing from `functions/`.
"""
