"""API keys: credentials of programs that act for a user."""
