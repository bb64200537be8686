"""An executed notebook and its summary become a page; this room knows no statistics."""
