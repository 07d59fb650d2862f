"""Draw figures of attributions, from tensors alone.

Every function takes tensors or arrays, draws one figure and returns it with its axes, in the
conventions of ``captum.attr.visualization``. None of them needs a model or anything else of this
package.
"""

from captum_spectral.visualization.accuracy import visualize_accuracy
from captum_spectral.visualization.association import visualize_association
from captum_spectral.visualization.band_attr import visualize_band_attr
from captum_spectral.visualization.bands import visualize_bands
from captum_spectral.visualization.curves import visualize_curves
from captum_spectral.visualization.embedding import visualize_embedding
from captum_spectral.visualization.epochs import visualize_epochs
from captum_spectral.visualization.heat_maps import visualize_heat_maps
from captum_spectral.visualization.interactions import (
    visualize_interaction_network,
    visualize_interactions,
)
from captum_spectral.visualization.maps import visualize_maps
from captum_spectral.visualization.matrix import visualize_correlations
from captum_spectral.visualization.named import visualize_named_attr
from captum_spectral.visualization.responses import visualize_responses
from captum_spectral.visualization.sectors import visualize_sectors
from captum_spectral.visualization.shares import visualize_cumulative_shares
from captum_spectral.visualization.snr import visualize_snr
from captum_spectral.visualization.spectrum import visualize_spectrum
from captum_spectral.visualization.table import visualize_table
from captum_spectral.visualization.wavelets import visualize_wavelets

__all__ = [
    "visualize_accuracy",
    "visualize_association",
    "visualize_band_attr",
    "visualize_bands",
    "visualize_correlations",
    "visualize_cumulative_shares",
    "visualize_curves",
    "visualize_embedding",
    "visualize_epochs",
    "visualize_heat_maps",
    "visualize_interaction_network",
    "visualize_interactions",
    "visualize_maps",
    "visualize_named_attr",
    "visualize_responses",
    "visualize_sectors",
    "visualize_snr",
    "visualize_spectrum",
    "visualize_table",
    "visualize_wavelets",
]
