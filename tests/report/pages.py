"""Pages of each kind, made of names that would be markup if they were not escaped."""

import io
from html.parser import HTMLParser

import torch
from PIL import Image
from test_reports import Named, studied
from test_robustness_report import studied as measured

from captum_spectral.features import band_frequencies, band_mask
from captum_spectral.report import explanation, importance, robustness
from captum_spectral.studies import Explanation, ExplanationSettings, ImportanceSettings

EVIL = "<script>document.title='stolen'</script>\"'><img src=x onerror=alert(1)>"
COMMAND = f"captum-spectral explain '{EVIL}' && true"


def png(size=(900, 300)):
    file = io.BytesIO()
    Image.new("RGB", size, "white").save(file, "png")
    return file.getvalue()


def explained(errors=None, category=EVIL):
    values = torch.tensor([3.0, 1.5, -0.25, 0.75], dtype=torch.float64)
    mask = band_mask((16, 16), 4)
    return Explanation(
        inputs=torch.zeros(1, 3, 16, 16),
        picture=torch.rand(3, 16, 16),
        mask=mask,
        frequencies=band_frequencies(mask),
        target=7,
        category=category,
        is_prediction=True,
        probability=0.5,
        values=values,
        errors=errors,
        degrees_of_freedom=9.0,
        full_value=6.0,
        empty_value=1.0,
        efficiency_gap=0.0,
    )


def page_of_explanation(errors=None):
    settings = ExplanationSettings(n_samples=None if errors is None else 4)
    return explanation.to_html(
        explained(errors), settings, png(), image=EVIL, command=COMMAND, model=EVIL, weights=None
    )


def page_of_importance(skipped=((EVIL, EVIL),)):
    pictures = Named(EVIL, ("cat", EVIL), skipped)
    scored = [studied(), studied((0.5, 1.0, 2.0, 0.5), model=EVIL)]
    return importance.to_html(scored, ImportanceSettings(4), pictures, png(), command=COMMAND)


def page_of_study():
    study = measured(9)._replace(skipped=[(EVIL, EVIL)])
    found = robustness.findings(study, num_resamples=50)
    drawn = {"accuracy-radius-linf.png": png(), f"association-{EVIL}.png": png()}
    return robustness.to_html(
        study, found, drawn, settings={"study.toml": f"# {EVIL}"}, command=COMMAND
    )


PAGES = {
    "explanation": page_of_explanation,
    "importance": page_of_importance,
    "study": page_of_study,
}


class Parsed(HTMLParser):
    """The tags of a page with their attributes, the text between them, and what is not closed."""

    VOID = ("meta", "link", "img", "br")

    def __init__(self, text):
        super().__init__()
        self.tags, self.open, self.texts = [], [], {}
        self.feed(text)
        self.close()

    def handle_starttag(self, tag, attributes):
        self.tags.append((tag, dict(attributes)))
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.texts.setdefault(self.open[-1] if self.open else "", []).append(data)

    def of(self, tag):
        return [attributes for name, attributes in self.tags if name == tag]

    def text(self, tag):
        return "".join(self.texts.get(tag, []))
