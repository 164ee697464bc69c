"""Pages to look at: one self-contained HTML file each, readable in light and dark, on screen and on paper."""
