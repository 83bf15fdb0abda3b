"""Conversations, and answers that are paid while they stream."""
