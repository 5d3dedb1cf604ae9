"""The pipeline on Spark and Delta: one thin file a step, which reads tables, calls `mining` and writes what it owns."""
