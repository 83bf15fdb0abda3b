"""The demo: a new user signs up, listens, asks, pays, checks the receipts, and fails to overspend."""
