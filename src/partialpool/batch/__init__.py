"""Studies in, runs out; this room talks to the notebooks through files."""
