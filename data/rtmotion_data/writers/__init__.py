"""Writers: one file a format; every file is written beside its place and then renamed."""
