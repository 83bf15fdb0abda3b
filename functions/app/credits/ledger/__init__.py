"""The ledger's only writer: accounts and entries in Firestore, with group commit and replays."""
