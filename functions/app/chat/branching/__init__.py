"""The turns of a conversation as a tree: `tree` is the value, `branches` finds its parts in the store."""
