"""The stores as ports, and their adapters: Firestore, the Realtime Database, Cloud Storage."""
