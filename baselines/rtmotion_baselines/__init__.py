"""What the predictor is compared with trivial, registration, motion-model and generative baselines."""
