"""Which measure knew first that a run would grok, and when: all of them on the same runs."""
