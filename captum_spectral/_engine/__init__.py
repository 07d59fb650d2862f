"""How rows go through the model: who calls it, on which signals, how many, what if they do not fit."""
