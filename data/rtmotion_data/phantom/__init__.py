"""A synthetic breathing patient: realistic 4D CT with exact displacement fields, landmarks and masks."""

from rtmotion_data.phantom.canvas import LABELS
from rtmotion_data.phantom.config import PhantomConfig
from rtmotion_data.phantom.make import Phantom, PhantomTensors, make_phantom, make_tensors, phantom_stream

__all__ = ["LABELS", "Phantom", "PhantomConfig", "PhantomTensors", "make_phantom", "make_tensors", "phantom_stream"]
