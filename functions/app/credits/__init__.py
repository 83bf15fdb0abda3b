"""The credit system: accounts, the signed ledger, and everything that is derived from it."""
