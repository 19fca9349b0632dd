"""Views: how each kind of prediction is shown to people, one file per kind."""
