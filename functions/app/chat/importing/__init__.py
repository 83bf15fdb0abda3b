"""Conversations from files: our own export, ChatGPT's and Open WebUI's. `importing` stores what the readers make of
them, `leftover` removes what an import that died left behind.
"""
