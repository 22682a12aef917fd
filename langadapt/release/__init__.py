"""What people download: cards, licences, sums; adapters released alone or merged."""
