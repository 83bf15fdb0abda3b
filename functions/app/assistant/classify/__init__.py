"""What a prompt asks for: its task, its route and how long the answer will be, by a small trained model.

`classifier.classify` is the public face, `python -m app.chat.classify` the command, docs/classifier.md the figures.
"""
