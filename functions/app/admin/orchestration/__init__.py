"""The queue, sagas, dead letters and audit log, for administrators."""
