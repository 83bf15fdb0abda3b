"""Basics that every feature uses: errors, money, time, ids, logs, ports to the databases. Knows no feature."""
