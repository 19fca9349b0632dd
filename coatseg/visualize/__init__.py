"""Pictures of images, truth, predictions, features and scores, for people to look at."""
