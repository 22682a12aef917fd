"""An encoder and its adapters over HTTP: what to answer, how calls share passes, who may call how much."""
