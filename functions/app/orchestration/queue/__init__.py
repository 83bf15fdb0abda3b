"""The operation queue: orders, admission, leases and locks, dead letters, the audit log."""
