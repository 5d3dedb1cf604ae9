"""The vocabulary of the house: every table, setting, expectation and protocol is defined here, once."""
