"""The things on a street, and how each is painted: buildings, trees, hedges, cars, people, poles and signs."""
