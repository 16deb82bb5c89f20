"""The prior over a breathing cycle: waveforms, the cyclic Gaussian process, and the forecaster `motion-model`."""
