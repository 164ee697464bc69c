"""What comes beside a picture and is joined to its features: each kind is declared once; `registry` names them all."""
