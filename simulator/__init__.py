"""Users with goals, who rephrase, repeat, change their minds, mumble and give up in front of any `Predictor`.

`simulator.logs.simulate` writes what a product would log and, apart from it, the truth that only tests,
benchmarks and the simulator may read. Goals and wordings come from a `Catalogue` (our own phrasebook, or any
folder in MASSIVE's format); every habit of the users is a parameter of a `Population`, with its source.
"""
