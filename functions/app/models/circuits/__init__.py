"""Circuits: a model that failed several times in a row is left alone for a while, and then tried with one request."""
