"""Every model vendor behind one door: what exists, what it costs, and how it is asked."""
