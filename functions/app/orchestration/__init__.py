"""Durable work: operations, events and sagas that survive crashes, repeats and any order of arrival.

The one primitive is the **operation** (`operation.py`, pure):

    queued --claim--> running --succeed--> succeeded
      | ^               |
      | +----retry------+--bury--> dead --discard--> discarded
      |                 +--abandon--> cancelled
      +--cancel--> cancelled

A replay queues a dead, discarded or cancelled operation again.

1. A use case adds `OperationQueue.rows(orders)` or `EventBus.rows(events)` to the commit that causes them, so that
   both are stored or neither.
2. Features commit through the `Outbox`. After the commit it *rings*: for an operation that is due it creates a ticket
   at `/orchestration/queue/{lane}/{ticket}` in the Realtime Database, for another it sets an alarm (Cloud Tasks). When
   that is lost, the sweeper rings again within minutes.
3. The ticket's trigger calls `Runner.serve(lane)`. `admission.pick` (pure) admits one ticket at a time, by the lane's
   limits, fair shares of the priorities, and one operation per ordering key. The claim is one optimistic commit: a
   lease and a fencing token on the operation's document and, for one with an ordering key, the lock of its line
   (`line.py`), so that no two of a line run at once whatever the Realtime Database has lost.
4. The handler works with no transaction open, while a heartbeat renews the lease (`attempt.py`), and returns `Done`.
   Its writes and the end of the operation are **one** commit, so effects happen exactly once; an attempt that lost its
   lease cannot commit. A `Rejection` or `InvariantViolation` makes a dead letter at once, any other failure after the
   last try.

An **event** becomes one operation per subscriber, whose id is derived from (subscriber, event id). A **saga**
(`saga.py`, pure) is a definition and a frozen state, from which follow the steps, compensations and timers to start
next; each is an operation whose last commit changes the saga's state as well.

Cost in Firestore: an operation is one write in the causing commit, one read and one write to claim it, and one write
to end it; with an ordering key also one write to claim, one to end, and a query for the next of its line. An empty
queue costs one query per sweep.
"""
