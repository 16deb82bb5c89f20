"""The video-model predictor, the default method of `rtmotion forecast`."""
