"""How logits are had from a trained model: whole images, sliding windows, several views. Pure functions over it."""
