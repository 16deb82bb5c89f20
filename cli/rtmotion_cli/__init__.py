"""The rtmotion command."""
