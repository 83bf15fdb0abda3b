"""Sagas: their definitions, their states, and what runs and shows them."""
