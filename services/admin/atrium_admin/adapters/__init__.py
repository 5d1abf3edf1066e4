"""The technologies behind the ports, one a file."""
