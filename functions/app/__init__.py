"""The backend: see docs/ for the map; `main.py` lists every deployed function."""
