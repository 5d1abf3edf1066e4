"""What every Atrium service needs, and no business words."""
