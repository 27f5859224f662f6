"""RTL of FlightLLM's units; their golden and cycle models are in :mod:`hwsim.flightllm`."""
