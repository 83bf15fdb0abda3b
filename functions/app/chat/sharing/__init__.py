"""A link under which anybody may read a branch of a conversation as it was when it was shared: `sharing` has the rules,
`routes` and `schemas` the API.
"""
