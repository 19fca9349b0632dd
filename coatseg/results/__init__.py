"""From a checkpoint to results: files of models, and what is predicted from them."""
