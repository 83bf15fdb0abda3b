"""What proves the ledger: keys, signed chains, checkpoints, breaches and receipts."""
