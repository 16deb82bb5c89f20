"""DVF baselines: a registration engine and a temporal model; and the bounds that know the answer."""
