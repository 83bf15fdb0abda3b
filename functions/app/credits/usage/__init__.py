"""Usage: rollups of the ledger's charges, and the analytics that read them."""
