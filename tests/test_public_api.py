"""The public surface: exactly these names, each documented as the project promises."""

import inspect
import re
from importlib import import_module
from pathlib import Path

import pytest
import torch
from helpers import tiny_cnn

import captum_spectral

PUBLIC = {
    "captum_spectral": """
        BandGame BandStop Boundary BoundaryIntegratedGradients BoundaryNotFoundError
        BoundarySaliency BoundarySearch Curve FeatureSuppression Game HighPass
        ImportanceResult LowPass OutputOf SpectralBanzhaf SpectralForward SpectralImportance
        SpectralInteractions SpectralSNR
        SpectralSNRMetric SpectralShapley WeightShapley __version__ association band_attribution
        band_frequencies band_mask band_profile band_sensitivity band_sums concentration
        deletion_curve energy_in_box features find_boundary fourier_heat_map insertion_curve
        lowest_cutoff normalized_entropy paint pixel_map positive_percentage robust_accuracy
        robustness sector_mask signed_spectral_score spectral_score spectral_snr split_bands unpaint
        visualization weights
        """,
    "captum_spectral.attr": """
        BoundaryIntegratedGradients BoundarySaliency FeatureSuppression SpectralBanzhaf
        SpectralForward SpectralInteractions SpectralShapley WeightShapley band_attribution
        """,
    "captum_spectral.boundary": """
        Boundary BoundaryNotFoundError BoundarySearch SearchMethod find_boundary
        """,
    "captum_spectral.coalitions": """
        CrossFitted ESTIMATORS Estimator Exact ExactInteractions GamePrior GaussianProcess
        INDICES InteractionResult MAX_EXACT_ROWS MAX_ORDER Orderings OwnOrderings
        PairInteractions PlayerEstimate Regression Semivalue all_coalitions among_all
        banzhaf banzhaf_from_table check_exact check_few designed_pairs estimator_of
        half_width interactions_from_table interactions_of is_exact k_sii_from_sii
        leverage_pairs moebius_transform places_of relevance_from sample_orderings shapley
        shapley_from_table shapley_weights subsets_of walsh_transform
        """,
    "captum_spectral.features": """
        DCT Features FourierBands LumaChromaBands Pixels Sectors Wavelets band_frequencies band_mask
        band_profile band_sums channel_bands dct_mask paint pixel_map sector_mask split_bands
        unpaint
        zigzag_mask
        """,
    "captum_spectral.importance": """
        ClassTable Estimate ImportanceResult MeanInteractions Records SpectralImportance
        SpectralScore class_table signed_spectral_score spectral_score
        """,
    "captum_spectral.metrics": """
        Curve concentration deletion_curve energy_in_box insertion_curve normalized_entropy
        positive_percentage
        """,
    "captum_spectral.report": """
        explanation figures importance robustness robustness_figures weight_change
        """,
    "captum_spectral.robustness": """
        Association Associations BandSensitivity BandStop Bootstrap BoundaryDistances
        Coefficient Corruption FourierHeatMap GradientMasking HighPass LowPass LowestCutoff
        MeanCorruptionError PowerLawFit RadialSNR RobustAccuracy SpectralSNR
        SpectralSNRMetric association associations band_sensitivity band_shares
        boundary_distances builtin_corruptions corruption_error fit_power_law
        fourier_heat_map gradient_masking lowest_cutoff mean_corruption_error nearest_family
        noisy_labels numpy_corruption pack_bits paired_bootstrap pca radial_snr
        random_noise_accuracy relative_corruption_error relative_mean_corruption_error
        restricted_mean robust_accuracy select spectral_snr tsne unpack_bits
        """,
    "captum_spectral.studies": """
        ComparedLayer Comparison ComparisonSettings Explanation ExplanationSettings
        ImportanceSettings ImportanceStudy Processes Repair RobustnessStudy RoundedStudy
        RoundingSettings StudiedModel StudiedModels StudyModel StudyTable WeightChange
        band_integrated_gradients compare explain round_and_repair standard_measurements
        weight_change
        """,
    "captum_spectral.visualization": """
        visualize_accuracy visualize_association visualize_band_attr visualize_bands
        visualize_correlations visualize_cumulative_shares visualize_curves
        visualize_embedding visualize_epochs visualize_heat_maps visualize_interaction_network
        visualize_interactions visualize_maps visualize_named_attr visualize_responses
        visualize_sectors visualize_snr visualize_spectrum visualize_table visualize_wavelets
        """,
}
# They run the model, or make tensors much larger than the input.
WITH_A_COST = """
    BandGame BoundaryIntegratedGradients BoundarySaliency FeatureSuppression Game SpectralBanzhaf
    SpectralForward SpectralImportance SpectralInteractions SpectralShapley WeightShapley
    band_attribution deletion_curve find_boundary insertion_curve
    split_bands band_sensitivity fourier_heat_map lowest_cutoff robust_accuracy
    """
CALLABLES = [n for n in captum_spectral.__all__ if callable(getattr(captum_spectral, n))]
FIGURES = [f"visualization.{n}" for n in captum_spectral.visualization.__all__]


def documented(name):
    """The thing of that name, its docstring, and that of its method where Captum asks for one."""
    thing = captum_spectral
    for part in name.split("."):
        thing = getattr(thing, part)
    text = inspect.getdoc(thing)
    methods = [getattr(thing, name) for name in ("attribute", "perturb") if hasattr(thing, name)]
    return thing, text, "".join([text, *map(inspect.getdoc, methods)])


@pytest.mark.parametrize("room", PUBLIC)
def test_the_public_names_are_these(room):
    module = import_module(room)
    assert sorted(module.__all__) == sorted(PUBLIC[room].split())
    assert all(hasattr(module, name) for name in module.__all__)


@pytest.mark.parametrize("name", [*CALLABLES, *FIGURES])
def test_docstrings_say_what_a_user_needs(name):
    thing, text, whole = documented(name)
    for section in ("Args:", "Example::", ">>> "):
        assert section in text, f"{name} has no {section}"
    assert "Raises:" in whole or (inspect.isclass(thing) and issubclass(thing, Exception))
    assert "Returns:" in whole or inspect.isclass(thing)


@pytest.mark.parametrize("name", sorted(WITH_A_COST.split()))
def test_what_spends_rows_or_memory_says_how_much(name):
    assert re.search(r"\bCost\b", documented(name)[2])


def test_the_version_is_the_installed_one():
    assert re.match(r"\d+\.\d+", captum_spectral.__version__)


def test_the_code_of_the_readme_runs(monkeypatch):
    monkeypatch.setattr("matplotlib.pyplot.show", lambda: None)
    readme = (Path(__file__).parent.parent / "README.md").read_text(encoding="utf-8")
    blocks = re.findall(r"```python\n(.*?)```", readme, re.DOTALL)
    inputs, target = torch.rand(2, 3, 32, 32), torch.tensor([3, 1])
    names = {"model": tiny_cnn(dtype=torch.float32), "inputs": inputs, "target": target}
    for block in blocks:
        exec(block, names)
    assert len(blocks) == 7
    assert names["error"].shape == (2, 12)
    assert len(names["pairs"].subsets) == 12 + 66
    assert names["result"].num_examples == 2
    assert names["bands"].shape == (2, 8)
    assert names["cutoff"].shape == (2,)
    assert names["sensitivity"].value.shape == (8,)
    assert names["slopes"].shape == names["where"].shape == inputs.shape
