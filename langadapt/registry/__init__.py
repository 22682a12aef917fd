"""Components, the plugins that bring them, and how they are found."""
