"""Tool calls: functions of the caller's that a model asks for."""
