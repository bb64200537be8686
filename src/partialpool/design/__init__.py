"""A formula, a table and priors become matrices, groups and named parameters."""
