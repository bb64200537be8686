"""Numbers from draws, and the words that say them."""
