"""What the heads that classify masks share: truth, points, losses, and what is made of the masks that are found."""
