"""How a trained model's logits are computed: on whole images, sliding windows or several views. Pure functions."""
