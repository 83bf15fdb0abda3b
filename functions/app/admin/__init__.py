"""What administrators do across features. Everything may be asked from here; nobody imports it but the composition
root.
"""
