"""Numbers become what readers see: prose, figures, tables, HTML. Knows no torch."""
