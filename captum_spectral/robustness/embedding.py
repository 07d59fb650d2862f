"""Place models by their spectra, and say in a number whether families are neighbours."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from captum_spectral._arguments import check_count
from captum_spectral.robustness.selection import Row, check_table, families_of, select
from captum_spectral.robustness.statistics import Floats, module_for, permutation_p

__all__ = ["PCA", "Neighbours", "Spectra", "band_shares", "nearest_family", "pca", "tsne"]

LEAST_FOR_TSNE = 30  # models; its pictures of fewer show groups in anything
_BAND = "importance band "
_TIED = 1e-12  # of the largest squared distance


class Spectra(NamedTuple):
    """The bands of every model as shares.

    Args:
        names: Of the N models.
        families: ``N`` names.
        shares: ``(N, M)`` float64, each row sums to 1.
        left_out: Model to the reason why it is not there.
    """

    names: list[str]
    families: list[str]
    shares: Tensor
    left_out: dict[str, str]


class PCA(NamedTuple):
    """The principal components of N rows.

    Args:
        coordinates: ``(N, K)``, centred; those of the first axis vary most.
        explained: ``(K,)`` share of the variance along each axis.
        components: ``(K, M)`` orthonormal rows, each with a positive largest entry.
        mean: ``(M,)``; ``coordinates @ components + mean`` gives the rows back if K = M.
    """

    coordinates: Tensor
    explained: Tensor
    components: Tensor
    mean: Tensor


class Neighbours(NamedTuple):
    """The families of nearest neighbours.

    Args:
        accuracy: Share of the models whose nearest other model is of their own family.
        expected: The same if families had nothing to do with it.
        p_value: Of no relation, by permutation of the families.
        num_models: How many have another one of their family, and count.
    """

    accuracy: float
    expected: float
    p_value: float
    num_models: int


def band_shares(
    table: Iterable[Row],
    perturbation: str | None = None,
    *,
    by: str = "model",
    families: str = "family",
) -> Spectra:
    r"""Take the bands of every model out of a study's table, as positive shares.

    .. math::
        p_i = \frac{\max(\phi_i, 0)}{\sum_k \max(\phi_k, 0)}

    Args:
        table: Rows of a study, with measurements ``"importance band 0"`` and so on.
        perturbation: Baseline of the importance, such as ``"mean"``. None: the mean over all that
            are there. Default: None
        by: Key whose values tell the models apart. Default: "model"
        families: Key of their family. Default: "family"

    Returns:
        A :class:`Spectra`.

    Raises:
        ValueError: No bands in the table.

    Example::

        >>> from captum_spectral.robustness.embedding import band_shares
        >>> rows = [{"model": "a", "measurement": f"importance band {i}", "value": v}
        ...         for i, v in enumerate([3.0, 1.0, -0.5])]
        >>> band_shares(rows).shares
        tensor([[0.7500, 0.2500, 0.0000]], dtype=torch.float64)
    """
    rows = check_table(table, by)
    found = {str(row["measurement"]) for row in rows}
    bands = sorted((m for m in found if m.startswith(_BAND)), key=lambda m: int(m[len(_BAND) :]))
    if not bands:
        raise ValueError(
            f"table has no measurement '{_BAND}0'; its measurements are {', '.join(sorted(found))}"
        )
    suffix = "" if perturbation is None else f"/{perturbation}"
    columns = [select(rows, band + suffix, by=by) for band in bands]
    left_out: dict[str, str] = {}
    for column in reversed(columns):
        left_out |= column.left_out
    names = [name for name in columns[0].names if name not in left_out]
    values = np.array([[c.values[c.names.index(name)] for c in columns] for name in names])
    power = values.reshape(-1, len(bands)).clip(min=0)
    total = power.sum(1)
    left_out |= {
        name: "no band is above 0" for name, x in zip(names, total, strict=True) if not x > 0
    }
    kept = total > 0
    family = families_of(rows, by=by, families=families)
    names = [name for name in names if name not in left_out]
    shares = torch.from_numpy(power[kept] / total[kept, None])
    return Spectra(names, [family[name] for name in names], shares, left_out)


def pca(x: Tensor, num_components: int = 2) -> PCA:
    r"""Rotate rows so that the first axes show as much of their differences as axes can.

    With the centred rows :math:`X = U S V^\top` the coordinates are :math:`U S`, and axis
    :math:`k` explains :math:`S_k^2 / \sum_j S_j^2` of the variance.

    Args:
        x: ``(N, M)`` rows, such as the shares of :func:`band_shares`.
        num_components: K. Default: 2

    Returns:
        A :class:`PCA`, in float64. ``explained`` is NaN if all rows are equal.

    Raises:
        TypeError: ``x`` is no real tensor.
        ValueError: ``x`` that is not ``(N, M)`` or not finite, more components than ``min(N, M)``.

    Example::

        >>> import torch
        >>> from captum_spectral.robustness.embedding import pca
        >>> found = pca(torch.tensor([[0.0, 0.0], [2.0, 2.0], [4.0, 4.0]]))
        >>> found.coordinates[:, 0].round(decimals=3)
        tensor([-2.8280,  0.0000,  2.8280], dtype=torch.float64)
        >>> [round(share, 3) for share in found.explained.tolist()]
        [1.0, 0.0]
    """
    rows = _rows(x)
    num_components = check_count("num_components", num_components)
    if num_components > min(rows.shape):
        raise ValueError(
            f"num_components must be at most min(N, M) = {min(rows.shape)}, got {num_components}"
        )
    mean = rows.mean(0)
    left, sizes, right = torch.linalg.svd(rows - mean, full_matrices=False)
    # The sign of an axis is free: fixed, so that every machine draws the same picture.
    largest = right.abs().argmax(1, keepdim=True)
    signs = right.gather(1, largest).sign()
    components = (right * signs)[:num_components]
    coordinates = (left * sizes * signs.T)[:, :num_components]
    variance = sizes**2
    return PCA(coordinates, (variance / variance.sum())[:num_components], components, mean)


def tsne(x: Tensor, perplexity: float | None = None, seed: int = 0) -> Tensor:
    r"""Place rows in the plane so that near ones stay near (t-SNE of scikit-learn).

    It starts from the first two principal components. Distances between groups, their sizes and
    their densities mean nothing, and another seed may give another picture: look at several, beside
    :func:`pca`, and test the grouping with :func:`nearest_family` on the rows themselves.

    Args:
        x: ``(N, M)`` rows, at least 30.
        perplexity: About how many neighbours a row has, at most :math:`(N - 1) / 3`. None: that, or
            30 if that is less. Default: None
        seed: Of what is drawn. Default: 0

    Returns:
        ``(N, 2)`` float64.

    Raises:
        ImportError: scikit-learn is not installed (the extra ``study`` has it).
        TypeError: ``x`` is no real tensor.
        ValueError: ``x`` that is not ``(N, M)`` or not finite, fewer than 30 rows, a perplexity out
            of range.

    Example::

        >>> import torch
        >>> from captum_spectral.robustness.embedding import tsne
        >>> tsne(torch.rand(30, 8, generator=torch.Generator().manual_seed(0))).shape
        torch.Size([30, 2])

    References:
        L. van der Maaten, G. Hinton, *Visualizing Data using t-SNE*, JMLR 9, 2008.
    """
    rows = _rows(x)
    if len(rows) < LEAST_FOR_TSNE:
        raise ValueError(
            f"x must have at least {LEAST_FOR_TSNE} rows for t-SNE, got {len(rows)}; use pca(x)"
        )
    most = (len(rows) - 1) / 3
    perplexity = min(30.0, most) if perplexity is None else float(perplexity)
    if not 1 <= perplexity <= most:
        raise ValueError(
            f"perplexity must be from 1 to (N - 1) / 3 = {most:.3g} for {len(rows)} rows, got "
            f"{perplexity:g}"
        )
    manifold = module_for("sklearn.manifold", "t-SNE")
    method = manifold.TSNE(
        2, perplexity=perplexity, init="pca", random_state=check_count("seed", seed, at_least=0)
    )
    return torch.from_numpy(np.asarray(method.fit_transform(rows.numpy()), dtype=float))


def nearest_family(
    x: Tensor, families: Sequence[str], num_resamples: int = 10_000, seed: int = 0
) -> Neighbours:
    r"""Say in a number whether models of one family are neighbours.

    The nearest other model is found for every model (leave-one-out), by Euclidean distance; the
    accuracy is the share of those whose nearest is of their own family, over the models whose
    family has another one. Where several are equally near, each counts in part. p is the share of
    permutations of the families among the models that reach at least the accuracy; of up to
    ``num_resamples`` permutations all are tried.

    Give it the shares, not the coordinates of a picture: a picture of t-SNE makes groups.

    Args:
        x: ``(N, M)`` rows, such as the shares of :func:`band_shares`.
        families: ``N`` names.
        num_resamples: Random permutations. Default: 10,000
        seed: Of the permutations. Default: 0

    Returns:
        A :class:`Neighbours`. By chance alone the accuracy would be ``expected``,
        :math:`\sum_f n_f (n_f - 1) / (N - 1)` over the models that count.

    Raises:
        ImportError: SciPy is not installed (the extra ``study`` has it).
        TypeError: ``x`` is no real tensor.
        ValueError: ``x`` that is not ``(N, M)`` or not finite, not one family for each row, no
            family with two models.

    Example::

        >>> import torch
        >>> from captum_spectral.robustness.embedding import nearest_family
        >>> x = torch.tensor([[0.0], [0.1], [1.0], [1.1], [3.0], [3.2]])
        >>> found = nearest_family(x, ["a", "a", "b", "b", "c", "c"])
        >>> print(f"{found.accuracy:.2f}, by chance {found.expected:.2f}, p {found.p_value:.3f}")
        1.00, by chance 0.20, p 0.067
    """
    rows = _rows(x)
    num_resamples = check_count("num_resamples", num_resamples)
    if isinstance(families, str) or len(families) != len(rows):
        got = repr(families) if isinstance(families, str) else str(len(families))
        raise ValueError(f"families must have one name for each of {len(rows)} rows, got {got}")
    names = list(dict.fromkeys(families))
    codes = np.array([names.index(family) for family in families])
    sizes = np.bincount(codes)
    counted = int(sizes[sizes > 1].sum())
    if not counted:
        raise ValueError(
            f"families must hold one with two models or more, got {len(names)} families of one each"
        )
    nearest = _nearest(rows)

    def accuracy(orders: npt.NDArray[np.intp]) -> Floats:
        of_model = codes[orders]  # (n, N)
        # A model without another of its family finds none, so all may be summed.
        same = of_model[:, :, None] == of_model[:, None, :]
        found: Floats = np.einsum("ij,rij->r", nearest, same) / counted
        return found

    observed = float(accuracy(np.arange(len(rows))[None])[0])
    p_value = permutation_p(accuracy, len(rows), num_resamples, check_count("seed", seed, 0))
    expected = float((sizes * (sizes - 1)).sum()) / (len(rows) - 1) / counted
    return Neighbours(observed, expected, float(p_value), counted)


def _nearest(rows: Tensor) -> Floats:
    """Return ``(N, N)`` weights that sum to 1 in each row: its nearest other rows."""
    difference = rows[:, None] - rows[None]
    squares = (difference**2).sum(-1)
    tied = _TIED * squares.max()
    squares.fill_diagonal_(torch.inf)
    near = (squares <= squares.amin(1, keepdim=True) + tied).double()
    weights: Floats = (near / near.sum(1, keepdim=True)).numpy()
    return weights


def _rows(x: Tensor) -> Tensor:
    """Return finite rows ``(N, M)`` in float64 on the CPU."""
    if not isinstance(x, Tensor) or x.is_complex() or x.dtype is torch.bool:
        got = getattr(x, "dtype", type(x).__name__)
        raise TypeError(f"x must be a real tensor (N, M), got {got}")
    if x.dim() != 2 or x.shape[0] < 2 or x.shape[1] == 0:
        raise ValueError(f"x must be (N, M) with at least two rows, got shape {tuple(x.shape)}")
    rows = x.detach().to("cpu", torch.float64)
    if not rows.isfinite().all():
        raise ValueError("x must be finite, got NaN or infinite values")
    return rows
