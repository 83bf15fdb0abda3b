"""Trains the classifier of prompts: `python -m training --help`. docs/classifier.md has the figures."""
