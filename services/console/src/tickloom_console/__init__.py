"""What a person touches: the tickloom command."""
