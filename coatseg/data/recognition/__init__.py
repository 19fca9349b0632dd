"""Which tool's export a folder is, by what lies in it, and the options that read it."""

from coatseg.data.recognition.candidate import Candidate
from coatseg.data.recognition.recognise import recognise

__all__ = ["Candidate", "recognise"]
