"""From a design to draws, exactly or by PyMC."""
