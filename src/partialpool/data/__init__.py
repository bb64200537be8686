"""Tables from anywhere, whole or in parts, checked; this room knows no model."""
