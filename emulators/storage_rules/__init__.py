"""Stand-in for Google's storage rules runtime, which is a download. It denies every client, exactly as
`storage.rules` does.

It refuses to evaluate rules: a rules file that allows anything is rejected when it is loaded, so that no test can
pass here on a rule that was never run. Requests of the Admin SDK never come here: firebase-tools lets them through by
itself.
"""
