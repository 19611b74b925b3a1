"""How stored numbers become images: one file per stored form. The judge decodes with them, so they are part of the host."""
