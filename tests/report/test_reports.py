"""Reports of importance: what the sentences, the document and the figure say of known numbers."""

import json
from dataclasses import replace

import pytest
import torch

from captum_spectral import ImportanceResult
from captum_spectral.report import importance as report
from captum_spectral.report.layout import aligned, decimals_of
from captum_spectral.sources.pictures import Pictures
from captum_spectral.studies import ImportanceSettings, StudiedModel


class Named(Pictures):
    """A data set of which a report only needs the names."""

    def __len__(self):
        return 50

    def name_of(self, i):
        return f"{i}.png"

    def label(self, i):
        return None

    def load(self, i):
        raise AssertionError("a report looks at no picture")

    def fingerprint(self):
        return "abc"


PICTURES = Named("photos", ("cat", "dog"), (("notes.txt", "no picture"),))


def studied(phi=(3.0, 1.0, 0.0, -0.5), error=0.1, **changes):
    phi = torch.tensor(phi, dtype=torch.float64)
    covariance = error**2 * torch.eye(len(phi), dtype=torch.float64)
    empty = -5.0
    result = ImportanceResult(
        phi,
        covariance,
        full_value=empty + float(phi.sum()),
        empty_value=empty,
        num_examples=50,
        num_rows=400,
        accuracy=0.75,
        frequencies=torch.linspace(0, 0.5, len(phi) + 1).unfold(0, 2, 1),
    )
    model = StudiedModel(
        model="net",
        result=result,
        labels="data",
        skipped=[],
        batch_size=10,
        perturbations_per_eval=4,
        stopped_early=False,
    )
    return replace(model, **changes)


def test_the_sentences_say_what_the_numbers_do():
    text = report.to_text([studied()], PICTURES)
    assert "net: a picture is worth +3.50 nats to it. 75% of that power sits in band 0" in text
    assert "(0.000 to 0.125 cycles/pixel) and 100% in the lower half of the bands" in text
    assert "Below 0 by more than two standard errors, and so harmful to it: band 3." in text
    assert "views of one photograph" not in text
    assert "no labels" not in text
    assert text.endswith("Pictures that were not used (1):\n  notes.txt: no picture\n")


def test_what_cannot_be_told_from_nothing_is_not_told():
    text = report.to_text([studied(error=2.0)], PICTURES)
    assert "do not tell apart from nothing" in text
    assert "sits in band" not in text
    assert "harmful" not in text


def test_each_remark_stands_where_it_belongs():
    model = studied(labels="predictions", stopped_early=True)
    grouped = ImportanceResult.from_dict({**model.result.to_dict(), "num_groups": 9})
    text = report.to_text([replace(model, result=grouped)], PICTURES)
    assert "the label of a picture is the model's own prediction" in text
    assert "net: stopped when the tolerance was reached, before the end of the data." in text
    assert "The pictures come in 9 groups, such as views of one photograph" in text


def test_a_picture_that_several_models_skipped_is_told_once_and_many_are_counted():
    bad = [(f"{i}.png", "it is empty") for i in range(25)]
    scored = [studied(skipped=bad), studied(model="other", skipped=bad[:5])]
    text = report.to_text(scored, PICTURES)
    assert "Pictures that were not used (26):" in text
    assert text.count("it is empty") == 19  # with the one of the data set 20
    assert text.endswith("  and 6 more, see importance.json\n")
    document = json.loads(report.to_json(scored, ImportanceSettings(), PICTURES))
    assert len(document["skipped"]) == 26


def test_the_table_has_the_sums_and_the_ends_of_every_model():
    table = report.table([studied(), studied((1.0, 0.5, 0.5, 0.5), model="other")])
    for label, values in (
        ("sum of the bands", ["+3.5000", "+2.5000"]),
        ("v(full)", ["-1.5000", "-2.5000"]),
        ("v(empty)", ["-5.0000", "-5.0000"]),
    ):
        (line,) = (line for line in table.splitlines() if line.strip().startswith(label))
        assert line.split()[-2:] == values


def test_the_document_has_everything_and_reads_back():
    settings = ImportanceSettings(num_bands=4, n_samples=1)
    one = studied()
    text = report.to_json([one], settings, PICTURES, device="cuda:0", processes=8)
    document = json.loads(text)
    assert text.endswith("}\n")
    assert document["data"] == {
        "name": "photos",
        "num_pictures": 50,
        "num_classes": 2,
        "fingerprint": "abc",
    }
    assert document["settings"]["n_samples"] == 1
    assert (document["device"], document["processes"]) == ("cuda:0", 8)
    assert document["skipped"] == [{"name": "notes.txt", "reason": "no picture"}]
    assert document["versions"].keys() >= {"captum_spectral", "captum", "torch", "python"}
    (model,) = document["models"]
    assert ImportanceResult.from_dict(model["result"]) == one.result


@pytest.mark.parametrize("phi", [(3.0, 1.0, 0.0, -0.5), (-1.0, -2.0), (2.0,)])
def test_the_figure_has_both_formats_also_without_shares(phi):
    files = report.figure([studied(phi)], "a$title_{ of 图片")
    assert files["png"].startswith(b"\x89PNG")
    assert files["svg"].startswith(b"<?xml")


def test_the_layout_of_numbers():
    assert aligned([["a", "1"], ["bcd", "23.5"]]) == ["a        1", "bcd   23.5"]
    assert [decimals_of([x]) for x in (0.0, 3.1, 31.0, -0.0031, 1e9, 1e-30)] == [4, 4, 3, 7, 0, 12]
