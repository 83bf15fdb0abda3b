"""Durable work: operations, events and sagas that survive crashes, repeats and any order of arrival.

One primitive, the **operation** (`operation.py`, pure):

    queued --claim--> running --succeed--> succeeded
      ^ ^               | \\---fail, for good--> dead --replay--> queued
      | +--fail, later--+                        \\----discard--> discarded
      +-- cancel --> cancelled

1. A use case puts `OperationQueue.rows(orders)` or `EventBus.rows(events)` into the commit that causes them: both or
   neither.
2. `Outbox`, the `Documents` that features are given, sees that commit go through and rings: a ticket at
   `/orchestration/queue/{lane}/{ticket}` in the Realtime Database for what is due, an alarm (Cloud Tasks) for what is
   not. A lost ring costs time, never the operation: the sweeper rings again.
3. The ticket's trigger calls `Runner.serve(lane)`. `lanes.pick` (pure) admits one ticket at a time: limits,
   priorities with fair shares, one operation per key. The claim is one optimistic commit: a lease and a fencing token
   on the operation's document and, for one with a key, the document of its line (`line.py`), which decides that no two
   of a line run at once whatever the Realtime Database has lost.
4. The handler works with no transaction open, while a heartbeat keeps the lease (`attempt.py`), and returns `Done`: its
   writes and the end of the operation are **one**
   commit, so the operation is its own inbox. Who lost the lease cannot commit. A `Fault` is retried, whatever else
   failed is a dead letter.

An **event** becomes one operation per subscriber, id derived from (subscriber, event id). A **saga** (`saga.py`,
pure) is a frozen state and a definition; `advance` says which steps, compensations and timers start next; each is an
operation whose last commit moves the saga as well.

Cost of an operation in Firestore: the row in the causing commit, one read and one write to claim, one write to finish;
with a key one write more to claim and one to finish, and a query for whoever is next.
An empty queue costs one query per sweep.
"""
