"""From a tidy table to one offline page; nothing here needs torch."""
