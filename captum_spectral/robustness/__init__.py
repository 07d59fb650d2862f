"""What the spectrum says about perturbations, and about what breaks a model."""
