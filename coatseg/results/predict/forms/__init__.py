"""Predictions in the forms that servers, contests and other tools take: `for=NAME`, a file a form."""
