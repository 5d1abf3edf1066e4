"""What commands and demo share: words, tables, uploads."""
