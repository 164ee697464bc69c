"""The served model and the web page."""
