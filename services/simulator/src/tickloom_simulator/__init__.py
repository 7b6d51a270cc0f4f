"""A hostile fake exchange that speaks real wire formats."""
