"""Build language models from Hugging Face configurations: prefill and decode graphs."""
