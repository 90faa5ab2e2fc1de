"""The options of the recipes: their defaults, ranges and meanings."""
