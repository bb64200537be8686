"""Pictures of all that; the only room that imports matplotlib."""
