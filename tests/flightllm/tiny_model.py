"""A language model small enough to play whole requests of it."""

from hwsim.flightllm.plan import Layer

TINY = {
    "model_type": "llama",
    "hidden_size": 256,
    "intermediate_size": 512,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "vocab_size": 512,
}

STEP_LAYERS = [
    Layer("linear", 1, k=512, n=3000, functions=("silu",)),
    Layer("scores", 1, k=128, n=48, heads=6, group=2, context=48, functions=("softmax",)),
    Layer("mix", 1, k=48, n=128, heads=6, group=2, context=48),
]
"""A projection with its activation, and one step's attention."""
