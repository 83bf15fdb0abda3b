"""The door for OpenAI's clients: chat completions that are paid as messages are, and kept nowhere."""
