"""The command `python -m app.chat.classify`; the classifier itself is `app.assistant.classify`."""
