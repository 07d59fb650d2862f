"""Tell what spectra say about perturbations, and about what breaks a model."""
