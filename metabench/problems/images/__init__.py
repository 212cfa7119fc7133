"""N-way K-shot tasks of images: downloads, archives, class folders, splits."""
