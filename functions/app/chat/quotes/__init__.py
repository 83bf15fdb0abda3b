"""Prices that bind: a quote is kept for a while, and one message may take it."""
