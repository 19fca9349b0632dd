"""for=ade20k: PNG files of 1 to 150, named as the images, as the server of ADE20K SceneParsing takes them."""

from __future__ import annotations

from coatseg.data.datasets.ade20k import INFO
from coatseg.results.predict.forms.submission import LabelSubmission

FOLDER = "ade20k"


class ADE20KLabels(LabelSubmission):
    """Writes ade20k/NAME.png of 1 to 150, 0 where no class is sure, and ade20k.zip."""

    form = "ade20k"
    files = ("ade20k.zip",)
    folders = (FOLDER,)
    zipped_from = f"{FOLDER}/"
    tree = FOLDER
    known = INFO
