"""What people are told, and how it reaches them: verdict changes and quarantined releases, as messages to a webhook.

What belongs here: notices made from stored changes and records, their Slack-compatible JSON, the outbox that remembers
what was told, sending. What does not: finding changes (`comparison`), putting a release in quarantine (`automation`),
and when a round is due (`automation.notices`, `cli.notices`).
"""
