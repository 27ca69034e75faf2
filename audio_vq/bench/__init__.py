"""`audio-vq bench`: one file per theme, each with a function that measures it.

    measure_training(config: ModelConfig, budget: Budget) -> list[Measurement]
    measure_encoding(config: ModelConfig, budget: Budget) -> list[Measurement]
    …

`runner.py` calls them; `measurement.py` says what a measurement is and how contenders take turns.
"""
