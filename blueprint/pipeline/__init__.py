"""The bundled pipeline; imports nothing else of this package."""
