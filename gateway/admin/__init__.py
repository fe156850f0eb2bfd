"""The control plane over HTTP: health, readiness, metrics. Knows nothing of the data plane."""
