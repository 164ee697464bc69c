"""Networks: the backbone, its head, and what a regime freezes."""
