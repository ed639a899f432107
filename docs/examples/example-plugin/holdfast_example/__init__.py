"""An example of Holdfast plugins."""
