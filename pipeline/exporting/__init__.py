"""A served model as a file that others can run: ONNX, and the folders that other programs read."""
