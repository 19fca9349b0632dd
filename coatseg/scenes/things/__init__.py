"""What stands on a street: buildings, trees, cars, people, poles and signs."""
