"""The algorithms, pure: Arrow and numpy in and out. No Spark, no clock, no environment, no global random state."""
