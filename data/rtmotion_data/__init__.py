"""What crosses the disk readers, writers, the phantom, breathing traces."""
