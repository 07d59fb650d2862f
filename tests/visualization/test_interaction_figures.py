"""What the figures of interactions show, and what they refuse."""

import numpy as np
import pytest
import torch
from matplotlib.colors import to_rgb

from captum_spectral.visualization import visualize_interaction_network, visualize_interactions
from captum_spectral.visualization._style import COLOURS

MATRIX = torch.tensor([[20.0, 1.0, -0.5], [1.0, -10.0, 0.1], [-0.5, 0.1, 0.0]])
ERROR = torch.full((3, 3), 0.1)


def table(matrix=MATRIX, *rest, **options):
    return visualize_interactions(matrix, *rest, use_pyplot=False, **options)[1]


def network(matrix=MATRIX, *rest, **options):
    return visualize_interaction_network(matrix, *rest, use_pyplot=False, **options)[1]


def test_colours_come_from_interactions_alone_and_are_symmetric_about_zero():
    cells = table().get_images()[0].get_array()
    assert cells[0, 1].tolist() == pytest.approx(to_rgb(COLOURS[0]), abs=0.01)
    halfway = (np.array(to_rgb(COLOURS[3])) + 1) / 2
    assert cells[0, 2].tolist() == pytest.approx(halfway.tolist(), abs=0.02)
    singles = cells[range(3), range(3)]
    assert np.ptp(singles, axis=0).max() == 0  # neutral, though they are 20 times as large


def test_bars_are_as_long_as_the_sums_of_rows():
    bars = table().patches
    lengths = np.array([bar.get_width() for bar in bars])
    sums = MATRIX.sum(1).numpy()
    assert lengths / lengths[0] == pytest.approx(sums / sums[0], rel=1e-5)
    assert [round(bar.get_y() + bar.get_height() / 2) for bar in bars] == [0, 1, 2]


def test_pairs_within_their_errors_are_pale():
    sure = table().get_images()[0].get_array()
    cells = table(MATRIX, ERROR).get_images()[0].get_array()
    assert (cells[0, 1] == sure[0, 1]).all()
    assert (1 - cells[1, 2]).sum() == pytest.approx(0.3 * (1 - sure[1, 2]).sum(), rel=1e-6)


def test_single_players_are_written_with_as_many_decimals_as_the_largest_needs():
    assert [t.get_text() for t in table().texts][:3] == ["+20.0", "\N{MINUS SIGN}10.0", "0"]


def test_only_the_strongest_lines_are_drawn_and_none_within_its_error():
    def lines(**options):
        return len(network(**options).collections[0].get_segments())

    assert lines() == 3
    assert lines(most=2) == 2
    assert lines(standard_error=ERROR) == 2
    strongest = network(most=1).collections[0].get_segments()[0]
    players = network().collections[1].get_offsets()
    assert sorted(strongest.tolist()) == sorted(players[:2].tolist())


def test_players_stand_where_they_are_put():
    positions = torch.tensor([[0.0, 0.0], [0.2, 0.0], [0.1, 0.1]])
    players = network(MATRIX, positions).collections[1].get_offsets()
    assert players.tolist() == [pytest.approx(p) for p in ([-1, -0.5], [1, -0.5], [0, 0.5])]


@pytest.mark.parametrize("draw", [table, network])
@pytest.mark.parametrize(
    ("matrix", "options", "kind", "message"),
    [
        ([[1.0]], {}, TypeError, r"matrix must be a torch.Tensor"),
        (torch.ones(2, 3), {}, ValueError, r"matrix must be \(M, M\), got shape \(2, 3\)"),
        (torch.full((2, 2), torch.inf), {}, ValueError, r"must hold finite values"),
        (torch.tensor([[0.0, 1], [2, 0]]), {}, ValueError, r"must be symmetric"),
        (MATRIX, {"standard_error": ERROR[:2, :2]}, ValueError, r"standard_error must be \(3, 3\)"),
        (MATRIX, {"names": ["a"]}, ValueError, r"labels must have one name for each of the 3"),
    ],
)
def test_what_is_no_matrix_of_interactions_is_refused(draw, matrix, options, kind, message):
    with pytest.raises(kind, match=message):
        draw(matrix, **options)


def test_a_network_needs_a_place_for_everybody_and_a_line():
    with pytest.raises(ValueError, match=r"positions must be \(3, 2\), got shape \(2, 2\)"):
        network(MATRIX, torch.ones(2, 2))
    with pytest.raises(ValueError, match="most must be a number of lines, at least 1, got 0"):
        network(most=0)
