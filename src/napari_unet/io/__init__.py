"""Files in and out: images, masks, tables, models. No torch."""
