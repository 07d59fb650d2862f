"""How ``FeatureSuppression`` makes its samples, runs the model on them and averages."""
