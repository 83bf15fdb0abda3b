"""The change that a function trigger's event carries. Pure."""

from rtdb_emulator.json_text import Json, dumps


def delta(before: Json, after: Json) -> Json:
    """What to merge into `before` to get `after`, both in val form; null marks the highest vanished node."""
    if not isinstance(before, dict) or not isinstance(after, dict):
        return after
    changed: dict[str, Json] = {key: None for key in before if key not in after}
    for key, value in after.items():
        old = before.get(key)
        if isinstance(old, dict) and isinstance(value, dict):
            below = delta(old, value)
            if below:
                changed[key] = below
        elif key not in before or dumps(old) != dumps(value):  # as text, because True == 1 in Python
            changed[key] = value
    return changed
