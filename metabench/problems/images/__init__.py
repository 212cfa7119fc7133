"""Images as N-way K-shot tasks: archives, downloads, class folders."""
