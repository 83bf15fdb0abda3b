"""The local suite: one process that sets up, starts, watches and stops everything the product needs on one machine.

It knows Google's emulators, our stand-ins and the vendor simulators as commands with ports. It refuses to know what the
functions do: it loads them, waits until they answer, and opens a demo account through their public door.
"""
