"""The large vision model: CT slices as visual sentences, a VQGAN tokenizer and a decoder-only transformer."""
