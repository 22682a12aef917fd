"""Low-rank adaptation on peft and bitsandbytes."""
