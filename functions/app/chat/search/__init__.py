"""Search over a user's own titles and texts: `words` is what is stored for it, `finding` asks the store."""
