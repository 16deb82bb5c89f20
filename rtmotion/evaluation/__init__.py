"""The score: metrics, regions, the protocol, and comparison over methods and cases."""
