"""Health of this backend and of its dependencies, and metrics for its operators."""
