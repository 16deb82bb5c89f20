"""Readers: one file a format, all of them returning a PhaseSequence and what was found about it."""
