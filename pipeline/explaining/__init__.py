"""Why a network answers as it does: where in a picture it looked, and what its layers make of it."""
