"""What follows from an estimate: covariances, natural parameters, random effects."""
