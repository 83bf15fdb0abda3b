"""A faithful stand-in for the Firebase Realtime Database emulator, in Python."""

__version__ = "1.0.0"
