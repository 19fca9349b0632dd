"""for=voc: PNG files of 0 to 20 with VOC's colours, in the tree of results that its development kit names.

Source: the kit's documentation, section 8.2, and VOCevalseg.m, which refuses numbers beyond 20, so that pixels of no
sure class are background.
"""

from __future__ import annotations

from coatseg.data.datasets.voc import INFO
from coatseg.results.predict.forms.submission import LabelSubmission


class VOCLabels(LabelSubmission):
    """Writes results/VOC2012/Segmentation/comp6_test_cls/NAME.png, and voc.zip of that tree."""

    form = "voc"
    files = ("voc.zip",)
    folders = ("results",)
    tree = "results/VOC2012/Segmentation/comp6_test_cls"
    known = INFO
    nothing_means = "background"
    palette = True
