"""Public liveness: does this backend answer, and what it stands on."""
