"""What people see of predictions, a kind of them a file."""
