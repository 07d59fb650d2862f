"""Tables as a study writes them, of models whose numbers are made up."""

import numpy as np

from captum_spectral.robustness.selection import select

SCORE, ROBUST, CLEAN = "importance signed_score", "robust accuracy", "accuracy"


def row(model, measurement, value, family=None, **more):
    """One row, with all keys of a study's table."""
    given = {"model": model, "family": family or model, "measurement": measurement, "value": value}
    keys = {"seed": 0, "perturbation": "", "severity": None, "standard_error": 0.0}
    keys |= {"num_images": 100, "model_rows": 100, "seconds": 0.1, "error": None}
    return {**keys, **given, **more}


def table_of(columns, families=None, errors=None):
    """A row for every model and column; ``columns`` are by measurement."""
    errors, rows = errors or {}, []
    for name, values in columns.items():
        for i, value in enumerate(values):
            family = f"family {i}" if families is None else families[i]
            more = {"standard_error": errors.get(name, 0.0)}
            rows.append(row(f"model {i}", name, float(value), family, **more))
    return rows


def drawn(count, seed=0, slope=1.0, ties=False):
    """Score, robustness and clean accuracy of so many models, related to each other."""
    generator = np.random.default_rng(seed)
    clean = generator.normal(size=count)
    score = clean + generator.normal(size=count)
    robust = slope * score + clean + generator.normal(size=count)
    columns = {SCORE: score, ROBUST: robust, CLEAN: clean}
    return {name: x.round(0 if ties else 12) for name, x in columns.items()}


def column(table, name):
    return select(table, name).values
