"""The paid call: what every feature does that asks a model at its user's cost. Chat does; agents, images and embeddings
do the same with documents of their own.

A call belongs to an owner: the feature's document that it is made for, such as a chat's turn, an agent's step or an
image's task. The owner's document is written in the same commits as the account, so that the two never disagree, and
holds the call's `reservation_id`. In the order of a call:

    quote     `quote.quote`        (pure) prices a `Demand`, the prompt that is sent and the most that is written,
                                   for the dearest of the models that may answer: `Quote(needed, expected, ceiling)`.
                                   Estimates, check-insufficient and the call itself ask this one function.
    reserve   `Reserving.reserve`  reserves `needed` to `expected` and writes the owner's document; the `Granted` tells
                                   the `most` that may be reserved, and the output that this pays for. Each attempt has
                                   its own reservation, and a request that repeats one may not spend it again.
    measure   `Meter`              (pure) adds up what the vendor reports and what reached the caller: `Measured`.
    hold      `Holding.pays`       reserves more, up to `most`, before more than is paid for is passed on. Where no more
                                   can be reserved the call ends; no more than `Holding.held` is charged.
    settle    `Settling.settle`    charges by `Ending` and `Mode` and writes the owner's end; tries again for seconds
                                   while the store does not answer. If the reservation was given back meanwhile,
                                   the call is free and its end is written all the same.
    sweep     `Orphans.sweep`      ends the calls of one feature whose function died, once their lease is over.

Who pays for which ending, on which basis and for which reason stands in `billing_policy.toml` and nowhere else. This
package knows no conversation, no stream and no HTTP. It imports credits, models and kit; features import it.
"""
