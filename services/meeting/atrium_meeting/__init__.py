"""From a recording to clean words and minutes that cite them."""
