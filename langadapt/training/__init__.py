"""One training loop for pretraining, fine-tuning and distillation, on accelerate."""
