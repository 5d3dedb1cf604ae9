"""Models: data loading, training, transfer, evaluation, gate and registry. Reads the lake without a JVM."""
