"""Generative baselines: networks that predict the phases to come from images alone, trained on generated patients."""
