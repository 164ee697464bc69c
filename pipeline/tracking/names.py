"""Names that MLflow takes."""


def safe_name(name: str) -> str:
    """A text that can name an experiment and a registered model: letters of any script stay, `/`, `:` and the like
    become `-`. Never empty.
    """
    kept = "".join(letter if letter.isalnum() or letter in "_-. " else "-" for letter in name)
    return kept.strip(" .-") or "pictures"
