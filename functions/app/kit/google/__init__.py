"""Calls to Google's services that an SDK makes too dear for the path of a message."""
