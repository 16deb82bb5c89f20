"""Training of the networks that ship, and of a user's own: one loop, one recipe a network."""

from rtmotion.training.loop import TrainingConfig, train
from rtmotion.training.patient import SyntheticPatient
from rtmotion.training.recipe import Recipe

__all__ = ["Recipe", "SyntheticPatient", "TrainingConfig", "train"]
