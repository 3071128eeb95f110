"""The verbs of this daemon beside those of the engine, one room a noun."""
